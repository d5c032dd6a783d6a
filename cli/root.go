package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/migrations"
)

// app is one run of the command line.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	handlers       map[string]layby.Handler
	beside         []Beside
	version        string

	configPath string
	started    bool // a command's own code runs: what fails now is not the command line
}

// run carries out one command line.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if !a.started { // cobra refused the command line
		err = usage(err)
	}
	a.complain(ctx, err)
	return exitCodeOf(err)
}

// complain writes the one message of an error.
func (a *app) complain(ctx context.Context, err error) {
	var by stoppedBy
	if errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &by) {
		err = fmt.Errorf("stopped by a signal (%w)", by)
	}
	fmt.Fprintln(a.stderr, "layby: "+strings.TrimSpace(err.Error())+a.hint(err))
}

// hint is what a person can do about an error, after its text.
func (a *app) hint(err error) string {
	var connect *pgconn.ConnectError
	var network *net.OpError
	switch {
	case errors.Is(err, migrations.ErrOldSchema):
		return " -c " + a.configPath
	case errors.As(err, &connect):
		return "\n(the address is that of postgres.url)"
	case errors.As(err, &network) && network.Op == "dial":
		return "\n(the addresses are those of kafka.brokers, and those that the brokers advertise)"
	}
	return ""
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "layby",
		Short: "Consume Kafka events in order per resource, with parking, retries and a dead-letter store",
		Long: "Layby consumes Kafka events that must stay in order per resource. Failing events are parked and retried\n" +
			"through delayed topics; what can't be healed by time ends in a dead-letter store in Postgres.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, 4 conflict.",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().StringVarP(&a.configPath, "config", "c", "layby.yaml", "configuration file")
	for _, command := range []func() *cobra.Command{
		a.runCommand, a.configCommand, a.migrateCommand, a.topicsCommand, a.dlsCommand, a.parkedCommand, a.opCommand, a.auditCommand, a.adminCommand, a.statusCommand, a.consumerCommand, a.rewindCommand, a.doctorCommand, a.verifyCommand, a.demoCommand,
		a.versionCommand,
	} {
		root.AddCommand(command())
	}
	root.InitDefaultCompletionCmd()
	for _, command := range root.Commands() {
		if command.Name() == "completion" {
			command.Args = cobra.NoArgs // cobra's own takes any shell's name for a question
			command.RunE = takesOneOf(command.Commands())
		}
	}
	return root
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: takesOneOf(commands)}
	cmd.AddCommand(commands...)
	return cmd
}

// takesOneOf says what is to be written behind a command that only holds others.
func takesOneOf(commands []*cobra.Command) func(cmd *cobra.Command, args []string) error {
	names := make([]string, len(commands))
	for i, c := range commands {
		names[i] = c.Name()
	}
	return func(cmd *cobra.Command, _ []string) error {
		return usagef("%s takes one of %s; see %[1]s --help", cmd.CommandPath(), strings.Join(names, ", "))
	}
}

// do wraps a command's own code.
func (a *app) do(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		return f(cmd, args)
	}
}
