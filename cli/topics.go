package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/retrytiers"
)

func (a *app) topicsCommand() *cobra.Command {
	return group("topics", "Create, check and grow the topics of a consumer", a.topicsPlan(), a.topicsApply(), a.topicsGrow())
}

// consumerPlan is the plan of one consumer.
type consumerPlan struct {
	Consumer string            `json:"consumer"`
	Plan     *retrytiers.Plan  `json:"-"`
	Changes  []topicChangeView `json:"topics"`
}

// topicChangeView is one topic of a plan in JSON.
type topicChangeView struct {
	retrytiers.Change

	Retention string `json:"retention"`
}

func (a *app) topicsPlan() *cobra.Command {
	cmd := &cobra.Command{
		Use: "plan", Short: "Show what apply would do; changes nothing", Args: cobra.NoArgs,
	}
	output := outputFlag(cmd)
	commands := cmd.Flags().Bool("commands", false, "show the commands of Kafka's own tools that do it, for somebody with the rights")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		return a.withPlans(cmd.Context(), func(_ *kadm.Client, plans []consumerPlan) error {
			if *commands {
				for _, p := range plans {
					for _, line := range p.Plan.Commands() {
						fmt.Fprintln(a.stdout, line)
					}
				}
				return nil
			}
			return errors.Join(a.writePlans(*output, plans), wrongTopics(plans))
		})
	})
	return cmd
}

func (a *app) topicsApply() *cobra.Command {
	cmd := &cobra.Command{
		Use: "apply", Short: "Create the topics that are missing and set the others up as they must be", Args: cobra.NoArgs,
	}
	output := outputFlag(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		return a.withPlans(cmd.Context(), func(adm *kadm.Client, plans []consumerPlan) error {
			if err := wrongTopics(plans); err != nil {
				return err
			}
			for _, p := range plans {
				if err := retrytiers.Apply(cmd.Context(), adm, p.Plan); err != nil {
					return fmt.Errorf("consumer %s: %w", p.Consumer, err)
				}
			}
			return a.writePlans(*output, plans)
		})
	})
	return cmd
}

// withPlans runs a command's code with the plans of all consumers.
func (a *app) withPlans(ctx context.Context, f func(adm *kadm.Client, plans []consumerPlan) error) error {
	cfg, _, err := a.load()
	if err != nil {
		return err
	}
	return withKafka(cfg.Kafka, func(adm *kadm.Client) error {
		var plans []consumerPlan
		for i := range cfg.Consumers {
			p, err := planOf(ctx, adm, cfg, &cfg.Consumers[i])
			if err != nil {
				return fmt.Errorf("consumer %s: %w", cfg.Consumers[i].Group, err)
			}
			plans = append(plans, p)
		}
		return f(adm, plans)
	})
}

func planOf(ctx context.Context, adm *kadm.Client, cfg *config.Config, c *config.Consumer) (consumerPlan, error) {
	plan, err := retrytiers.MakePlan(ctx, adm, retrytiers.Spec{
		Group: c.Group, Sources: c.Topics, Tiers: retrytiers.Of(c.Group, c.Retry.Tiers), Replication: c.TopicReplication,
		DeadLetters: c.DeadLetterTopic,
		Waiting: func(ctx context.Context, tier string) (int, error) {
			return waitingIn(ctx, cfg.Postgres, c.Group, tier)
		},
	})
	if err != nil {
		return consumerPlan{}, err
	}
	view := consumerPlan{Consumer: c.Group, Plan: plan, Changes: []topicChangeView{}}
	for _, change := range plan.Changes {
		kept := change.Retention.String()
		if change.Retention == 0 {
			kept = "without end"
		}
		view.Changes = append(view.Changes, topicChangeView{change, kept})
	}
	return view, nil
}

// countTimeout bounds how long a plan waits for Postgres, which it can do without.
const countTimeout = 5 * time.Second

// waitingIn counts what waits in a tier that left the configuration.
func waitingIn(ctx context.Context, cfg config.Postgres, consumer, tier string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	pool, err := openPostgres(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	store, err := parking.Open(pool, cfg.Schema, parking.Options{})
	if err != nil {
		return 0, err
	}
	return store.WaitingIn(ctx, consumer, tier)
}

func (a *app) writePlans(output format, plans []consumerPlan) error {
	if output == asJSON {
		return writeJSON(a.stdout, plans)
	}
	var rows [][]string
	for _, p := range plans {
		for _, c := range p.Plan.Changes {
			message := c.Message
			if message == "" && c.Action == retrytiers.Create {
				message = settingsOf(c.Configs)
			}
			rows = append(rows, []string{p.Consumer, c.Topic, string(c.Action), strconv.Itoa(int(c.Partitions)), message})
		}
	}
	return writeTable(a.stdout, []string{"consumer", "topic", "action", "partitions", "what"}, rows)
}

func settingsOf(configs map[string]string) string {
	var parts []string
	for key, value := range configs {
		parts = append(parts, key+"="+value)
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// wrongTopics is the conflict with topics that apply can't put right.
func wrongTopics(plans []consumerPlan) error {
	var problems []error
	for _, p := range plans {
		for _, c := range p.Plan.Changes {
			if c.Action == retrytiers.Wrong {
				problems = append(problems, fmt.Errorf("topic %s: %s", c.Topic, c.Message))
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return conflict(errors.Join(problems...))
}
