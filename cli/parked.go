package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/dls"
)

func (a *app) parkedCommand() *cobra.Command {
	return group("parked", "Show what waits, and hold, release or hurry it", a.parkedList(), a.parkedGet(),
		a.parkedAct("hold", "Have the events of a resource wait until somebody releases it",
			"Hold has the events of a resource wait, also those that are to come, until somebody releases it. A resource of which nothing\n"+
				"waits can be held, too: from its next event on.", (*dls.Store).Hold),
		a.parkedAct("release", "End a hold by hand",
			"Release ends a hold: what waits of the resource goes on in order. What a dead letter holds is released by a replay, discard or\n"+
				"advance of the letter.", (*dls.Store).Release),
		a.parkedAct("retry", "Run the first event that waits of a resource now",
			"Retry runs the first event that waits of a resource at once, without waiting for its retry tier.", (*dls.Store).RetryNow),
		a.parkedAmend())
}

// parkedView is a resource of which something waits, in JSON.
type parkedView struct {
	Consumer    string      `json:"consumer"`
	Partition   int32       `json:"partition"`
	Resource    bytesView   `json:"resource"`
	State       string      `json:"state"`
	Since       time.Time   `json:"since"`
	Letter      int64       `json:"letter_id,omitempty"`
	LetterState string      `json:"letter_state,omitempty"`
	ByHand      bool        `json:"held_by_hand"`
	Behind      *int32      `json:"held_behind_partition,omitempty"`
	Waiting     int         `json:"waiting"`
	Exact       bool        `json:"waiting_exact"`
	Head        *queuedView `json:"head,omitempty"`
}

// queuedView is an event that waits, in JSON.
type queuedView struct {
	Seq     int64     `json:"seq"`
	Topic   string    `json:"topic"`
	Offset  int64     `json:"offset"`
	Type    string    `json:"type"`
	Attempt int       `json:"attempt"`
	Tier    string    `json:"tier,omitempty"`
	Due     time.Time `json:"due"`
	Letter  int64     `json:"letter_id,omitempty"`
	Class   string    `json:"error_class,omitempty"`
	Text    string    `json:"error,omitempty"`
	HasBody bool      `json:"has_body"`
	Parked  time.Time `json:"parked_at"`
}

func viewQueued(q *dls.Queued) queuedView {
	v := queuedView(*q)
	v.Due, v.Parked = v.Due.UTC(), v.Parked.UTC()
	return v
}

func viewParked(r *dls.ParkedResource) parkedView {
	v := parkedView{
		Consumer: r.Consumer, Partition: r.Partition, Resource: bytesView(r.Resource), State: r.State, Since: r.Since.UTC(), Letter: r.Letter,
		LetterState: string(r.LetterState), ByHand: r.ByHand, Waiting: min(r.Waiting, dls.BehindCap-1), Exact: r.Waiting < dls.BehindCap,
	}
	if r.Behind >= 0 {
		v.Behind = &r.Behind
	}
	if r.Waiting > 0 {
		head := viewQueued(&r.Head)
		v.Head = &head
	}
	return v
}

// heldBy says what a resource waits for.
func heldBy(r *dls.ParkedResource) string {
	var by []string
	if r.ByHand {
		by = append(by, "a person")
	}
	if r.Letter != 0 {
		by = append(by, fmt.Sprintf("dead letter %d, %s", r.Letter, r.LetterState))
	}
	if r.Behind >= 0 {
		by = append(by, fmt.Sprintf("partition %d", r.Behind))
	}
	if len(by) == 0 && r.Waiting > 0 {
		by = append(by, "its attempt at "+moment(r.Head.Due))
	}
	return strings.Join(by, "; ")
}

func waiting(n int) string {
	if n >= dls.BehindCap {
		return strconv.Itoa(dls.BehindCap-1) + "+"
	}
	return strconv.Itoa(n)
}

func (a *app) parkedList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the resources of which something waits", Args: cobra.NoArgs,
		Long: "List shows the resources of which something waits, or that a person holds, by consumer and partition, and what each waits for.",
		Example: "  layby parked list --consumer orders --state held\n" +
			"  layby parked list --state parked -o jsonl",
	}
	output := outputFlag(cmd, asTable, asJSON, asJSONL)
	var f dls.ParkedFilter
	flags := cmd.Flags()
	flags.StringVar(&f.Consumer, "consumer", "", "only of this consumer (its group)")
	resource := flags.String("resource", "", "only this resource")
	flags.StringSliceVar(&f.States, "state", nil, "only in one of these states: "+strings.Join(dls.ResourceStates(), ", "))
	limit := flags.Int("limit", 50, "how many, up to 1000")
	after := flags.String("after", "", "go on behind this cursor, which the page before gave, with the same filter")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		if *limit < 1 || *limit > 1000 {
			return usagef("--limit %d is out of range: write 1 to 1000", *limit)
		}
		if flags.Changed("resource") {
			f.Resource = resource
		}
		return a.withLetters(cmd, func(store *dls.Store) error {
			list, next, err := store.Parked(cmd.Context(), f, *after, *limit)
			if err != nil {
				return err
			}
			return a.writeParked(*output, list, next)
		})
	})
	return cmd
}

func (a *app) writeParked(output format, list []dls.ParkedResource, next string) error {
	views := make([]parkedView, len(list))
	rows := make([][]string, len(list))
	for i, r := range list {
		views[i] = viewParked(&r)
		rows[i] = []string{
			r.Consumer, strconv.Itoa(int(r.Partition)), shortened(r.Resource, 40), r.State, moment(r.Since), waiting(r.Waiting), r.Head.Type,
			strconv.Itoa(r.Head.Attempt), r.Head.Tier, heldBy(&r), shortened(r.Head.Text, 60),
		}
	}
	var err error
	switch output {
	case asJSON:
		return writeJSON(a.stdout, map[string]any{"resources": views, "next": next})
	case asJSONL:
		err = writeJSONL(a.stdout, views)
	default:
		err = writeTable(a.stdout, []string{"consumer", "partition", "resource", "state", "since", "waiting", "type", "attempt", "tier", "waits for", "error"}, rows)
	}
	if err == nil && next != "" {
		fmt.Fprintf(a.stderr, "there are more: --after %s\n", next)
	}
	return err
}

// targetFlags name a resource of a consumer.
type targetFlags struct {
	consumer  string
	partition int32
	cmd       *cobra.Command
}

func addTargetFlags(cmd *cobra.Command) *targetFlags {
	f := &targetFlags{cmd: cmd}
	cmd.Flags().StringVar(&f.consumer, "consumer", "", "the consumer (its group); needed when the configuration has several")
	cmd.Flags().Int32Var(&f.partition, "partition", 0, "the partition; needed when the resource is in several")
	return f
}

func (f *targetFlags) target(cfg *config.Config, resource string) (dls.Target, error) {
	t := dls.Target{Consumer: f.consumer, Resource: resource}
	if f.consumer == "" { // one that the configuration has no more can be named all the same
		c, err := onlyConsumer(cfg)
		if err != nil {
			return t, err
		}
		t.Consumer = c.Group
	}
	if f.cmd.Flags().Changed("partition") {
		t.Partition = &f.partition
	}
	return t, nil
}

// onlyConsumer is the configuration's, where it has one.
func onlyConsumer(cfg *config.Config) (*config.Consumer, error) {
	if len(cfg.Consumers) == 1 {
		return &cfg.Consumers[0], nil
	}
	var names []string
	for i := range cfg.Consumers {
		names = append(names, cfg.Consumers[i].Group)
	}
	return nil, usagef("the configuration has several consumers: name one of them, --consumer %s", strings.Join(names, " or --consumer "))
}

func (a *app) parkedGet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get <resource>", Short: "Show all that waits of a resource, in its order", Args: cobra.ExactArgs(1),
		Example: "  layby parked get order-17\n  layby parked get order-17 --consumer orders -o jsonl",
	}
	output := outputFlag(cmd, asTable, asJSON, asJSONL)
	f := addTargetFlags(cmd)
	limit := cmd.Flags().Int("limit", 50, "how many events, up to 1000")
	after := cmd.Flags().Int64("after", 0, "only those behind this seq")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if *limit < 1 || *limit > 1000 {
			return usagef("--limit %d is out of range: write 1 to 1000", *limit)
		}
		return a.withStore(cmd, func(cfg *config.Config, store *dls.Store) error {
			t, err := f.target(cfg, args[0])
			if err != nil {
				return err
			}
			q, err := store.Queue(cmd.Context(), t, *after, *limit)
			if err != nil {
				return err
			}
			return a.writeQueue(*output, q)
		})
	})
	return cmd
}

func (a *app) writeQueue(output format, q *dls.Queue) error {
	views := make([]queuedView, len(q.Events))
	rows := make([][]string, len(q.Events))
	for i, e := range q.Events {
		views[i] = viewQueued(&e)
		rows[i] = []string{
			strconv.FormatInt(e.Seq, 10), e.Topic + "@" + strconv.FormatInt(e.Offset, 10), e.Type, strconv.Itoa(e.Attempt), e.Tier, moment(e.Due),
			e.Class, shortened(e.Text, 60),
		}
	}
	switch output {
	case asJSON:
		v := map[string]any{"resource": viewParked(&q.ParkedResource), "events": views, "more": q.More}
		if q.AtHead != nil {
			v["letter"] = viewLetter(q.AtHead)
		}
		return writeJSON(a.stdout, v)
	case asJSONL:
		if err := writeJSONL(a.stdout, views); err != nil {
			return err
		}
	default:
		fmt.Fprintf(a.stdout, "resource %s of %s, partition %d, %s since %s: %s\n", printable(q.Resource), printable(q.Consumer), q.Partition, q.State,
			moment(q.Since), printable(sentence(waiting(q.Waiting)+" waiting", "for "+heldBy(&q.ParkedResource))))
		if l := q.AtHead; l != nil {
			fmt.Fprintf(a.stdout, "dead letter %d: %s: %s\n", l.ID, printable(l.Class), printable(shortened(l.Text, 200)))
		}
		if err := writeTable(a.stdout, []string{"seq", "source", "type", "attempt", "tier", "due", "class", "error"}, rows); err != nil {
			return err
		}
	}
	if q.More {
		fmt.Fprintf(a.stderr, "there are more: --after %d\n", slices.MaxFunc(q.Events, func(x, y dls.Queued) int { return int(x.Seq - y.Seq) }).Seq)
	}
	return nil
}
