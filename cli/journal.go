package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer/evidence"
)

// journals write down what the handlers of each consumer do, for `layby verify`.
type journals struct {
	log       *slog.Logger
	recorders []*evidence.Recorder
	files     []*os.File
}

// journal has the handlers of all consumers written down in a directory: a file for each consumer, of this process alone.
func (a *app) journal(dir string, cfg *config.Config, handlers []routeHandlers, log *slog.Logger) (_ *journals, err error) {
	j := &journals{log: log}
	if dir == "" {
		return j, nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("--journal: %w", err), j.close())
		}
	}()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	process := fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().UnixMilli())
	for i := range cfg.Consumers {
		member := memberOf(cfg.Consumers[i].Group) + process
		name := filepath.Join(dir, url.PathEscape(cfg.Consumers[i].Group)+"."+process+".jsonl")
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return nil, err
		}
		j.files = append(j.files, f)
		r := evidence.NewRecorder(f, member, cfg.Consumers[i].StuckGrace)
		j.recorders = append(j.recorders, r)
		for k, h := range handlers[i] {
			if h != nil {
				handlers[i][k] = layby.Chain(h, r.Record)
			}
		}
		log.Info("writing down what the handlers do", slog.String("consumer", cfg.Consumers[i].Group), slog.String("file", name))
	}
	return j, nil
}

// memberOf is what the members of a consumer are called by in journals, before the name of the process.
func memberOf(group string) string { return group + "@" }

// interrupted is what a consumer's file is told of its lease; nil without a file.
func (j *journals) interrupted(consumer int) func(now bool) {
	if len(j.recorders) == 0 {
		return nil
	}
	return j.recorders[consumer].Interrupted
}

// end ends the files. Those of a process that did not stop in order stay as they are.
func (j *journals) end(inOrder bool) {
	for i, r := range j.recorders {
		err := r.Err()
		if inOrder {
			err = r.Stop()
		}
		if err != nil {
			j.log.Error("the journal is incomplete", slog.String("file", j.files[i].Name()), slog.String("error", oneLine(err)))
		}
	}
	if err := j.close(); err != nil {
		j.log.Error("the journal may be incomplete", slog.String("error", oneLine(err)))
	}
}

func (j *journals) close() error {
	var failed []error
	for _, f := range j.files {
		failed = append(failed, f.Close())
	}
	return errors.Join(failed...)
}
