package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// rewindFlags are what a person asked for.
type rewindFlags struct {
	group, topic string
	partitions   []int32
	to           string
	reason       string
	yes          bool
}

func (a *app) rewindCommand() *cobra.Command {
	var f rewindFlags
	cmd := &cobra.Command{
		Use:   "rewind",
		Short: "Have a consumer run a source topic again from an earlier position",
		Long: "Rewind has a consumer read a source topic again from an earlier position, and run everything from there on once more, in\n" +
			"order: what succeeded, and what waits in a retry tier or behind a dead letter. Replays that wait and dead letters stay as\n" +
			"they are; a resource that is held behind a dead letter stays held, with all that is read again behind it.\n\n" +
			"All members must be stopped. Without --yes it only shows what it would do. Interrupted, it can be repeated.",
		Example: "  layby rewind --to 2026-03-01T06:00:00Z\n" +
			"  layby rewind --group orders --topic order-events --partition 3 --to 120000 --reason 'prices were wrong' --yes",
		Args: cobra.NoArgs,
	}
	output := outputFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.group, "group", "", "the consumer; needed when the configuration has several")
	flags.StringVar(&f.topic, "topic", "", "the source topic; needed when the consumer has several")
	flags.Int32SliceVar(&f.partitions, "partition", nil, "only these partitions (default all)")
	flags.StringVar(&f.to, "to", "", "earliest, latest (the end of a log that was cut), a time like 2026-03-01T06:00:00Z, or an offset of one --partition")
	flags.StringVar(&f.reason, "reason", "", "why, for the audit log; needed with --yes")
	flags.BoolVar(&f.yes, "yes", false, "really do it")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		if f.to == "" {
			return usagef("where to? Write --to earliest, --to with a time, or --to with an offset")
		}
		if f.yes && strings.TrimSpace(f.reason) == "" {
			return usagef("--yes needs a --reason, which goes into the audit log")
		}
		return a.withConsumer(cmd.Context(), f.group, func(c *config.Consumer, store *parking.Store, adm *kadm.Client) (err error) {
			r := &rewinder{flags: f, group: c.Group, store: store, adm: adm}
			if r.topic, err = r.sourceOf(c); err != nil {
				return err
			}
			return a.rewind(cmd.Context(), r, *output)
		})
	})
	return cmd
}

// rewinder takes a source topic of a consumer back.
type rewinder struct {
	flags rewindFlags
	group string
	topic string
	store *parking.Store
	adm   *kadm.Client
}

// rewindView is one partition of the answer.
type rewindView struct {
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`    // where the consumer would go on
	To        int64  `json:"to"`      // where it goes on instead
	Events    int64  `json:"events"`  // offsets in between
	Parked    int    `json:"parked"`  // parked events that are read again
	Replays   int    `json:"replays"` // that wait and stay
	Letters   int    `json:"dead_letters"`
	Result    string `json:"result"`

	row parking.LaneRow
}

func (r *rewinder) sourceOf(c *config.Consumer) (string, error) {
	switch {
	case r.flags.topic == "" && len(c.Topics) == 1:
		return c.Topics[0], nil
	case r.flags.topic == "":
		return "", usagef("consumer %s has several source topics: name one of them, --topic %s", c.Group, strings.Join(c.Topics, " or --topic "))
	case !slices.Contains(c.Topics, r.flags.topic):
		return "", notFound(fmt.Errorf("consumer %s has no source topic %s, only %s", c.Group, r.flags.topic, strings.Join(c.Topics, ", ")))
	}
	return r.flags.topic, nil
}

func (a *app) rewind(ctx context.Context, r *rewinder, output format) error {
	if err := r.refuseMembers(ctx); err != nil {
		return err
	}
	plan, topicID, err := r.plan(ctx)
	if err != nil {
		return err
	}
	var failed error
	changes := 0
	for i := range plan {
		if v := &plan[i]; v.Result == "" && failed == nil {
			changes++
			if failed = r.carryOut(ctx, v, topicID); failed != nil {
				v.Result = "failed"
			}
		} else if v.Result == "" {
			v.Result = "left alone"
		}
	}
	if err := a.writeRewind(output, plan); err != nil {
		return err
	}
	if failed == nil && changes > 0 && !r.flags.yes {
		fmt.Fprintln(a.stderr, "nothing was changed; repeat the command with --yes and a --reason to do it")
	}
	return failed
}

func (r *rewinder) refuseMembers(ctx context.Context) error {
	n, err := membersOf(ctx, r.adm, r.group)
	if err != nil {
		return err
	}
	if n > 0 {
		return conflict(fmt.Errorf("group %s has %d members: stop them first. A member that died counts until its session timeout is over", r.group, n))
	}
	return nil
}

// plan finds where each partition is and where it would go on. A Result that is set says why it stays where it is.
func (r *rewinder) plan(ctx context.Context) ([]rewindView, ordering.TopicID, error) {
	var id ordering.TopicID
	topics, err := r.adm.ListTopics(ctx, r.topic)
	if err == nil {
		err = topics[r.topic].Err
	}
	if err != nil {
		return nil, id, fmt.Errorf("look up topic %s: %w", r.topic, err)
	}
	id = ordering.TopicID(topics[r.topic].ID)
	md, err := r.adm.BrokerMetadata(ctx)
	if err != nil {
		return nil, id, fmt.Errorf("look up the cluster: %w", err)
	}
	rows, err := r.store.Lanes(ctx, r.group)
	if err != nil {
		return nil, id, err
	}
	if err := r.refuseMissing(rows); err != nil {
		return nil, id, err
	}
	targets, first, err := r.targets(ctx)
	if err != nil {
		return nil, id, err
	}
	committed, err := r.adm.FetchOffsetsForTopics(ctx, r.group, r.topic)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // its offsets may have been deleted: the rows know where it was
		return nil, id, fmt.Errorf("look up what group %s committed: %w", r.group, err)
	}
	var plan []rewindView
	for _, row := range rows {
		if len(r.flags.partitions) > 0 && !slices.Contains(r.flags.partitions, row.Partition) {
			continue
		}
		if row.ClusterID != md.Cluster {
			return nil, id, conflict(fmt.Errorf("partition %d of %s belongs to Kafka cluster %s, this one is %s", row.Partition, r.group, row.ClusterID, md.Cluster))
		}
		mark := row.Sources[r.topic]
		v := rewindView{Partition: row.Partition, From: mark.Commit, row: row}
		if c, ok := committed.Lookup(r.topic, row.Partition); ok && c.Err == nil && !mark.Again {
			v.From = max(v.From, c.At)
		}
		to, there := targets[row.Partition]
		v.To = to
		switch {
		case mark.ID == (uuid.UUID{}) || !there:
			v.From, v.To, v.Result = -1, -1, "never read"
		case ordering.TopicID(mark.ID) != id:
			v.To, v.Result = 0, "the topic was created again: it is read from its beginning anyway"
		case to < first[row.Partition]:
			return nil, id, usagef("%s/%d begins at offset %d: there is no %d to go back to", r.topic, row.Partition, first[row.Partition], to)
		case to >= v.From:
			v.To, v.Result = v.From, "not behind that"
		default:
			v.Events = v.From - to
		}
		plan = append(plan, v)
	}
	return plan, id, nil
}

// refuseMissing names what a person asked for and the consumer does not have.
func (r *rewinder) refuseMissing(rows []parking.LaneRow) error {
	if len(rows) == 0 {
		return notFound(fmt.Errorf("consumer %s has read nothing yet", r.group))
	}
	for _, p := range r.flags.partitions {
		if !slices.ContainsFunc(rows, func(row parking.LaneRow) bool { return row.Partition == p }) {
			return notFound(fmt.Errorf("consumer %s has no partition %d", r.group, p))
		}
	}
	return nil
}

// targets are the offsets that --to stands for, and where the logs begin, by partition.
func (r *rewinder) targets(ctx context.Context) (to, first map[int32]int64, err error) {
	offsets := func(list kadm.ListedOffsets, err error) (map[int32]int64, error) {
		out := map[int32]int64{}
		if err == nil {
			err = list.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("look up offsets of %s: %w", r.topic, err)
		}
		list.Each(func(o kadm.ListedOffset) { out[o.Partition] = o.Offset })
		return out, nil
	}
	if first, err = offsets(r.adm.ListStartOffsets(ctx, r.topic)); err != nil {
		return nil, nil, err
	}
	at, timeErr := time.Parse(time.RFC3339, r.flags.to)
	number, numberErr := strconv.ParseInt(r.flags.to, 10, 64)
	switch {
	case r.flags.to == "earliest":
		return first, first, nil
	case r.flags.to == "latest":
		to, err = offsets(r.adm.ListEndOffsets(ctx, r.topic))
	case timeErr == nil:
		to, err = offsets(r.adm.ListOffsetsAfterMilli(ctx, at.UnixMilli(), r.topic))
	case numberErr == nil && len(r.flags.partitions) != 1:
		err = usagef("the offset %d is one of a single partition: name it with --partition", number)
	case numberErr == nil:
		to = map[int32]int64{r.flags.partitions[0]: number}
	default:
		err = usagef("--to %q is neither earliest, latest, an offset, nor a time like 2026-03-01T06:00:00Z", r.flags.to)
	}
	return to, first, err
}

// carryOut takes one partition back, or counts what that would mean.
func (r *rewinder) carryOut(ctx context.Context, v *rewindView, topicID ordering.TopicID) error {
	ask := parking.Rewind{
		Place: v.row.Place, At: v.row.Owned, Topic: r.topic, TopicID: topicID, Offset: v.To, Reason: r.flags.reason,
	}
	if !r.flags.yes {
		ask.Reason = "only counted"
	}
	counted, err := r.store.Rewind(ctx, ask)
	if err == nil && counted.Parked > 0 {
		err = r.refuseCompacted(ctx, counted.Parked)
	}
	if err == nil && r.flags.yes {
		ask.Apply = true
		counted, err = r.store.Rewind(ctx, ask)
	}
	v.Parked, v.Replays, v.Letters = counted.Parked, counted.Replays, counted.Letters
	switch {
	case errors.Is(err, parking.ErrFenced):
		return conflict(fmt.Errorf("partition %d of %s was taken by a member meanwhile: stop all members and repeat the command", v.Partition, r.group))
	case err != nil:
		return err
	case !r.flags.yes:
		v.Result = "would be rewound"
		return nil
	}
	v.Result = "rewound"
	// For those who look at the group's lag: the consumer follows its own row, and commits that itself when it starts.
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{
		Topic: r.topic, Partition: v.Partition, At: v.To, LeaderEpoch: -1, Metadata: consumer.CommitMetadata(v.row.Version + 1),
	})
	done, err := r.adm.CommitOffsets(ctx, r.group, offsets)
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		v.Result = "rewound; the group's offset follows when the consumer starts: " + err.Error()
	}
	return nil
}

// refuseCompacted keeps parked events of a topic whose records may be gone although their place is there.
func (r *rewinder) refuseCompacted(ctx context.Context, parked int) error {
	configs, err := r.adm.DescribeTopicConfigs(ctx, r.topic)
	if err != nil {
		return fmt.Errorf("look up the settings of %s: %w", r.topic, err)
	}
	for _, c := range configs {
		for _, kv := range c.Configs {
			if kv.Key == "cleanup.policy" && strings.Contains(kv.MaybeValue(), "compact") {
				return conflict(fmt.Errorf("%s is compacted, and %d events that would be read again wait: their records may be gone. "+
					"Let them finish first, or discard them", r.topic, parked))
			}
		}
	}
	return nil
}

func (a *app) writeRewind(output format, plan []rewindView) error {
	if output == asJSON {
		return writeJSON(a.stdout, plan)
	}
	var rows [][]string
	for _, v := range plan {
		rows = append(rows, []string{
			strconv.Itoa(int(v.Partition)), strconv.FormatInt(v.From, 10), strconv.FormatInt(v.To, 10), strconv.FormatInt(v.Events, 10),
			strconv.Itoa(v.Parked), strconv.Itoa(v.Replays), strconv.Itoa(v.Letters), v.Result,
		})
	}
	return writeTable(a.stdout, []string{"partition", "from", "to", "events", "parked", "replays", "dead letters", "result"}, rows)
}
