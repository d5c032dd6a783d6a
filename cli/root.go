package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby"
)

// app is one run of the command line.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	handlers       map[string]layby.Handler
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
	fmt.Fprintln(a.stderr, "layby: "+strings.TrimSpace(err.Error()))
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
		a.runCommand, a.configCommand, a.migrateCommand, a.topicsCommand, a.dlsCommand, a.demoCommand, a.versionCommand,
	} {
		root.AddCommand(command())
	}
	return root
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	names := make([]string, len(commands))
	for i, c := range commands {
		names[i] = c.Name()
	}
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("%s takes one of %s; see %[1]s --help", cmd.CommandPath(), strings.Join(names, ", "))
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// do wraps a command's own code.
func (a *app) do(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		return f(cmd, args)
	}
}
