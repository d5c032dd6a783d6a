package cli

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/migrations"
)

func (a *app) consumerCommand() *cobra.Command {
	return group("consumer", "Pause and resume a consumer", a.consumerPause(), a.consumerResume())
}

func (a *app) consumerPause() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause GROUP",
		Short: "Have no event of a consumer, or of one of its routes, start",
		Long: "Pause has no event of a consumer, or of one of its routes, start until it is resumed or the time is over: by all members,\n" +
			"also those that start later. Handlers that run go on to their end. Events wait where they are, in order, and spend no\n" +
			"attempt. It needs Postgres only: members follow within two seconds.",
		Example: "  layby consumer pause orders --reason 'the bank is being moved' --until 2h\n" +
			"  layby consumer pause orders --route order.paid --reason 'wrong amounts, see INC-7'",
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	route := flags.String("route", "", "only the route of this type, as the configuration has it")
	reason := flags.String("reason", "", "why, for those who wonder, and for the audit log")
	until := flags.String("until", "", "when it goes on by itself: a time like 2026-03-01T06:00:00Z, or from now, like 2h")
	replace := flags.Bool("replace", false, "instead of a pause that there is, with its reason and its end")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		end, err := momentOf(*until, time.Now())
		if err != nil {
			return err
		}
		sql := "select {{schema}}.pause_consumer($1, $2, nullif($3, ''), $4, $5)"
		_, err = a.person(cmd.Context(), args[0], *route, *reason, sql, args[0], *reason, *route, end, *replace)
		if exitCodeOf(err) == exitConflict {
			err = conflict(fmt.Errorf("%w; --replace replaces it", err))
		}
		if err != nil {
			return err
		}
		text := "until it is resumed"
		if end != nil {
			text = "until " + end.Format(time.RFC3339)
		}
		_, err = fmt.Fprintf(a.stdout, "%s is paused %s\n", namedRoute(args[0], *route), text)
		return err
	})
	return cmd
}

func (a *app) consumerResume() *cobra.Command {
	cmd := &cobra.Command{
		Use: "resume GROUP", Short: "End a pause", Args: cobra.ExactArgs(1),
		Example: "  layby consumer resume orders --reason 'the bank is there again'",
	}
	flags := cmd.Flags()
	route := flags.String("route", "", "the route that was paused")
	reason := flags.String("reason", "", "why, for the audit log")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		sql := "select {{schema}}.resume_consumer($1, $2, nullif($3, ''))"
		paused, err := a.person(cmd.Context(), args[0], "", *reason, sql, args[0], *reason, *route)
		if err != nil {
			return err
		}
		text := " goes on"
		if len(paused) > 0 {
			text = " is resumed; paused is still " + strings.Join(paused, ", ")
		}
		_, err = fmt.Fprintln(a.stdout, namedRoute(args[0], *route)+text)
		return err
	})
	return cmd
}

func namedRoute(group, route string) string {
	if route == "" {
		return "consumer " + group
	}
	return fmt.Sprintf("route %s of consumer %s", route, group)
}

// stillSQL is what of a consumer is paused.
const stillSQL = `select case route when '' then 'all of the consumer' else 'route ' || route end from {{schema}}.pauses
where consumer = $1 and (until is null or until > now()) order by route`

// person carries out what a person asks for about a consumer of the configuration, under their name, and says what is paused then.
func (a *app) person(ctx context.Context, group, route, reason, sql string, args ...any) (paused []string, err error) {
	if strings.TrimSpace(reason) == "" {
		return nil, usagef("why? Write --reason: it is shown to those who wonder, and goes into the audit log")
	}
	err = a.withPostgres(ctx, func(cfg *config.Config, pool *pgxpool.Pool) error {
		c, err := findConsumer(cfg, group)
		if err != nil {
			return err
		}
		if route != "" && !slices.ContainsFunc(c.Routes, func(r config.Route) bool { return r.Type == route }) {
			return notFound(fmt.Errorf("consumer %s has no route %q, only %s", group, route, strings.Join(typesOf(c), ", ")))
		}
		if err := migrations.Check(ctx, pool, cfg.Postgres.Schema); err != nil {
			return err
		}
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "select set_config('layby.actor', $1, true)", actor()); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, migrations.Render(sql, cfg.Postgres.Schema), args...); err != nil {
				return err
			}
			rows, err := tx.Query(ctx, migrations.Render(stillSQL, cfg.Postgres.Schema), group)
			if err == nil {
				paused, err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			return err
		})
		return refusal(err)
	})
	return paused, err
}

func typesOf(c *config.Consumer) []string {
	types := make([]string, len(c.Routes))
	for i, r := range c.Routes {
		types[i] = fmt.Sprintf("%q", r.Type)
	}
	return types
}

// actor is who runs the command.
func actor() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// refusal gives the exit code that belongs to what one of the schema's functions refuses.
func refusal(err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	switch text := errors.New(refused.Message); refused.Code {
	case "P0002":
		return notFound(text)
	case "55000":
		return conflict(text)
	case "22023":
		return usage(text)
	}
	return err
}

// momentOf reads a time, or one that is so far from now; nil for none.
func momentOf(text string, now time.Time) (*time.Time, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no time, and nothing wrong
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		var d time.Duration
		if d, err = time.ParseDuration(text); err == nil {
			at = now.Add(d)
		}
	}
	switch {
	case err != nil:
		return nil, usagef("--until %q is neither a time like 2026-03-01T06:00:00Z nor a duration like 2h", text)
	case !at.After(now):
		return nil, usagef("--until %s is over", text)
	}
	return &at, nil
}
