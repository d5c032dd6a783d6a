package cli

import (
	"github.com/spf13/cobra"

	"github.com/layby-go/layby/demo"
)

// The demo's size by default: with it, it ends in well under 90 s.
const demoOrders = 2000

func (a *app) demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "demo", Short: "Show what Layby does, with a Kafka, a Postgres and services of its own",
		Long: "Starts a Kafka (kfake), a Postgres (the machine's, else one that is downloaded once), a warehouse, a catalogue and a payment\n" +
			"service, and three members that price orders which were picked and take their payments. The services go down, get slow\n" +
			"and flap, cards have expired, products are unknown, a member is killed, another one added. Then the guarantees are\n" +
			"checked, and what is left for a person is shown. Nothing has to be set up, and everything is gone afterwards but the\n" +
			"picture of the run. Exit code 1 when a guarantee did not hold.",
		Args: cobra.NoArgs,
	}
	options := demo.Options{Out: a.stdout}
	flags := cmd.Flags()
	flags.IntVar(&options.Orders, "orders", demoOrders, "how many orders, of nine events and a payment each")
	flags.Uint64Var(&options.Seed, "seed", 1, "another number lets other events fail")
	flags.BoolVar(&options.Keep, "keep", false, "leave everything running after the summary, until Ctrl-C")
	flags.StringVar(&options.Timeline, "timeline", "layby-demo.svg", "the file for a picture of the run; none when empty")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		if err := options.Check(); err != nil {
			return usage(err)
		}
		return demo.Run(cmd.Context(), options)
	})
	cmd.AddCommand(a.demoMemberCommand())
	return cmd
}

// demoMemberCommand is what the demo starts its members with.
func (a *app) demoMemberCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "member", Short: "Run a member of the demo, which calls this", Hidden: true, Args: cobra.NoArgs}
	journal := cmd.Flags().String("journal", "", "as that of run")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		m, err := demo.NewMember(cmd.Context())
		if err != nil {
			return usage(err)
		}
		defer m.Close()
		Handlers(m.Handlers()).apply(a)
		Beside(m.Publish).apply(a)
		return a.runConsumers(cmd.Context(), *journal)
	})
	return cmd
}
