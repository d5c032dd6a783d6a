package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at all that the consumers stand on, and say what to do about what is wrong",
		Long: "Doctor looks at Kafka and Postgres, at the rights, topics and settings that the consumers of the configuration need, and\n" +
			"at what is stored. It changes nothing, and needs no consumer to run.\n\n" +
			"It exits with 1 when something has failed; a warning is no failure.",
		Args: cobra.NoArgs,
	}
	output := outputFlag(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		return a.withPostgres(cmd.Context(), func(cfg *config.Config, pool *pgxpool.Pool) error {
			client, err := kafkaOptions(cfg.Kafka)
			if err != nil {
				return usage(err)
			}
			findings, err := doctor.Examine(cmd.Context(), doctor.Patient{Config: cfg, Kafka: client, Pool: pool})
			if err != nil {
				return err
			}
			if err := a.writeFindings(*output, findings); err != nil {
				return err
			}
			if !doctor.Healthy(findings) {
				return errors.New("something has failed")
			}
			return nil
		})
	})
	return cmd
}

func (a *app) writeFindings(output format, findings []doctor.Finding) error {
	if output == asJSON {
		return writeJSON(a.stdout, findings)
	}
	var out strings.Builder
	rows := make([][]string, len(findings))
	for i, f := range findings {
		rows[i] = []string{string(f.Status), f.Check, f.Consumer, printable(f.Text)}
	}
	if err := writeTable(&out, []string{"status", "check", "consumer", "what"}, rows); err != nil {
		return err
	}
	for _, f := range findings {
		for i, do := range f.Do {
			if i == 0 {
				fmt.Fprintf(&out, "\n%s:\n", strings.TrimSpace(f.Check+" "+f.Consumer))
			}
			fmt.Fprintf(&out, "  %s\n", printable(do))
		}
	}
	_, err := io.WriteString(a.stdout, out.String())
	return err
}
