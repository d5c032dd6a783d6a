package cli

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/migrations"
)

func (a *app) migrateCommand() *cobra.Command {
	return group("migrate", "Create and update the tables in Postgres", a.migrateUp(), a.migrateDown(), a.migrateStatus())
}

func (a *app) migrateUp() *cobra.Command {
	return &cobra.Command{
		Use: "up", Short: "Apply every migration that is missing; can be repeated at any time", Args: cobra.NoArgs,
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			return a.withPostgres(cmd.Context(), func(cfg *config.Config, pool *pgxpool.Pool) error {
				schema := cfg.Postgres.Schema
				done, err := migrations.Up(cmd.Context(), pool, schema)
				if err != nil {
					return err
				}
				for _, m := range done.Applied {
					fmt.Fprintf(a.stdout, "applied %s\n", m.Name)
				}
				fmt.Fprintf(a.stdout, "schema %s is up to date\n", schema)
				if done.RolesSQL != "" {
					fmt.Fprintf(a.stdout, "\nRoles are missing, and this user may not create them. Have this run by somebody who may,\n"+
						"then run layby migrate up again:\n\n%s\n", done.RolesSQL)
				}
				return nil
			})
		}),
	}
}

func (a *app) migrateDown() *cobra.Command {
	cmd := &cobra.Command{
		Use: "down", Short: "Take the latest migration back, with all data in its tables", Args: cobra.NoArgs,
	}
	yes := cmd.Flags().Bool("yes", false, "really do it")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		return a.withPostgres(cmd.Context(), func(cfg *config.Config, pool *pgxpool.Pool) error {
			schema := cfg.Postgres.Schema
			list, err := migrations.Status(cmd.Context(), pool, schema)
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(m migrations.Migration) bool { return !m.Applied })
			if len(list) == 0 {
				fmt.Fprintf(a.stdout, "schema %s has no migration to take back\n", schema)
				return nil
			}
			if !*yes {
				return usagef("this takes back migration %s of schema %s, and its tables with all data in them: "+
					"repeat the command with --yes to do it", list[len(list)-1].Name, schema)
			}
			m, err := migrations.Down(cmd.Context(), pool, schema)
			if err != nil {
				return err
			}
			if m != nil {
				fmt.Fprintf(a.stdout, "took back %s\n", m.Name)
			}
			return nil
		})
	})
	return cmd
}

func (a *app) migrateStatus() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "List the migrations and which of them are applied", Args: cobra.NoArgs}
	output := outputFlag(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		return a.withPostgres(cmd.Context(), func(cfg *config.Config, pool *pgxpool.Pool) error {
			list, err := migrations.Status(cmd.Context(), pool, cfg.Postgres.Schema)
			if err != nil {
				return err
			}
			if *output == asJSON {
				return writeJSON(a.stdout, list)
			}
			rows := make([][]string, len(list))
			for i, m := range list {
				state := "missing"
				if m.Applied {
					state = "applied"
				}
				rows[i] = []string{strconv.FormatInt(m.Version, 10), m.Name, state, moment(m.AppliedAt)}
			}
			return writeTable(a.stdout, []string{"version", "name", "state", "applied at"}, rows)
		})
	})
	return cmd
}
