package cli

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/layby-go/layby/admin"
	"github.com/layby-go/layby/config"
)

// adminDefault is where layby admin serves when the configuration names no address.
const adminDefault = "127.0.0.1:8081"

func (a *app) adminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "admin", Short: "Serve the HTTP API of the dead-letter store until a signal comes", Args: cobra.NoArgs,
		Long: "Admin serves the HTTP API at admin.listen, " + adminDefault + " without one. It needs Postgres only: the owners of the partitions do\n" +
			"what is asked for. layby run serves it too when the configuration has admin.listen.",
		RunE: a.do(func(cmd *cobra.Command, _ []string) error { return a.serveAdmin(cmd.Context()) }),
	}
	cmd.AddCommand(a.adminToken())
	return cmd
}

func (a *app) adminToken() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token <name>", Short: "Make a token for the HTTP API, and its line for the file of tokens", Args: cobra.ExactArgs(1),
		Long: "Token makes a token for a person or a program: the token goes to standard output, to be given to them; the line for\n" +
			"admin.tokens_file, with its hash, to standard error, or behind a file with --file. The name is what the audit log shows.\n" +
			"A token ends when its line is deleted. The file is read again when it changes.",
		Example: "  layby admin token ann --role operator --file tokens",
	}
	role := cmd.Flags().String("role", string(admin.Viewer), "viewer, operator or admin")
	file := cmd.Flags().String("file", "", "add the line to this file, which is made when it is not there")
	cmd.RunE = a.do(func(_ *cobra.Command, args []string) error {
		token, line, err := admin.NewToken(args[0], admin.Role(*role))
		if err != nil {
			return usage(err)
		}
		if *file == "" {
			fmt.Fprintln(a.stderr, line)
		} else if err := admin.AddLine(*file, line); err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.stdout, token)
		return err
	})
	return cmd
}

func (a *app) serveAdmin(ctx context.Context) error {
	cfg, warnings, err := a.load()
	if err != nil {
		return err
	}
	log := newLogger(a.stderr, cfg.Log)
	for _, w := range warnings {
		if strings.HasPrefix(w.Key, "admin.") || strings.HasPrefix(w.Key, "postgres.") {
			log.Warn("configuration: "+w.Text, slog.String("key", w.Key), slog.String("where", w.Where))
		}
	}
	if cfg.Admin.Listen == "" {
		cfg.Admin.Listen = adminDefault
	}
	stop, err := a.startAdmin(ctx, cfg, log)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return stop(context.WithoutCancel(ctx))
}

// startAdmin serves the HTTP API, with connections of its own. stop lets running requests end for a while.
func (a *app) startAdmin(ctx context.Context, cfg *config.Config, log *slog.Logger) (stop func(context.Context) error, err error) {
	if cfg.Admin.Listen == "" {
		return func(context.Context) error { return nil }, nil
	}
	pool, err := openAdminPool(ctx, cfg)
	if err != nil {
		return nil, err
	}
	api, err := admin.New(ctx, admin.Options{
		Pool: pool, Schema: cfg.Postgres.Schema, TokensFile: cfg.Admin.TokensFile, Version: a.version, Log: log, Schemas: schemasOf(cfg),
	})
	if err != nil {
		pool.Close()
		return nil, usage(err)
	}
	server, err := admin.Listen(ctx, cfg.Admin.Listen, api)
	if err != nil {
		pool.Close()
		return nil, err
	}
	log.Info("serving the HTTP API", slog.String("address", server.Addr()))
	return func(ctx context.Context) error {
		defer pool.Close()
		ctx, cancel := context.WithTimeout(ctx, httpStop)
		defer cancel()
		return server.Stop(ctx)
	}, nil
}

// openAdminPool makes the pool of the API: few connections of its own.
func openAdminPool(ctx context.Context, cfg *config.Config) (*pgxpool.Pool, error) {
	own := cfg.Postgres
	own.MaxConnections = cfg.Admin.MaxConnections
	return openPostgres(ctx, own)
}

// schemasOf finds the file of the JSON Schema of a consumer's event type; empty for none.
func schemasOf(cfg *config.Config) func(consumer, eventType string) string {
	return func(consumer, eventType string) string {
		c, err := findConsumer(cfg, consumer)
		if err != nil {
			return ""
		}
		return c.Schemas[eventType]
	}
}
