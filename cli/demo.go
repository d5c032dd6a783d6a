package cli

import (
	"github.com/spf13/cobra"

	"github.com/layby-go/layby/demo"
)

// The demo's size by default: it ends well under a minute.
const (
	demoEvents = 5000
	demoOrders = 500
)

func (a *app) demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "demo", Short: "Show what Layby does, with a Kafka, a Postgres and a service of its own",
		Long: "Starts a Kafka (kfake), a Postgres (the machine's, else one that is downloaded once), a service and three members,\n" +
			"lets the service fail and go down, kills a member, adds another, and then checks the guarantees. Nothing has to be\n" +
			"set up, and everything is gone afterwards. Exit code 1 when a guarantee did not hold.",
		Args: cobra.NoArgs,
	}
	options := demo.Options{Out: a.stdout}
	flags := cmd.Flags()
	flags.IntVar(&options.Events, "events", demoEvents, "how many events")
	flags.IntVar(&options.Orders, "orders", demoOrders, "of how many orders")
	flags.Uint64Var(&options.Seed, "seed", 1, "another number lets other events fail")
	flags.BoolVar(&options.Keep, "keep", false, "leave everything running after the summary, until Ctrl-C")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		if err := options.Check(); err != nil {
			return usage(err)
		}
		return demo.Run(cmd.Context(), options)
	})
	return cmd
}
