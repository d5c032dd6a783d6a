package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"

	"github.com/layby-go/layby/config"
)

// load reads the configuration. Its warnings are for the commands that show them.
func (a *app) load(opts ...config.Option) (*config.Config, []config.Problem, error) {
	cfg, warnings, err := config.Load(a.configPath, a.environ, opts...)
	var problems config.Problems
	if errors.As(err, &problems) && len(problems) > 1 {
		err = fmt.Errorf("%s has %d problems:\n%w", a.configPath, len(problems), err)
	}
	if err != nil {
		return nil, warnings, usage(err)
	}
	return cfg, warnings, nil
}

// loadToRun reads a configuration whose handlers this program must have.
func (a *app) loadToRun() (*config.Config, []config.Problem, error) {
	return a.load(config.Handlers(slices.Collect(maps.Keys(a.handlers))...))
}

// newLogger makes the process's logger.
func newLogger(w io.Writer, cfg config.Log) *slog.Logger {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	options := &slog.HandlerOptions{Level: levels[cfg.Level]}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
