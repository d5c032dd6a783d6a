package retrytiers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// What tier topics are set to.
const (
	minRetention    = 7 * 24 * time.Hour
	delaysKept      = 10       // retention is at least so many delays
	headerRoom      = 64 << 10 // a tier record is larger than its source record by our header
	defaultMaxBytes = 1048588  // Kafka's default of max.message.bytes
)

// Spec is what a consumer's tier topics must fit.
type Spec struct {
	Group       string
	Sources     []string
	Tiers       []Tier
	Replication int // of topics that are created; 0 is the broker's default
	// DeadLetters is the topic that gets copies of dead letters; empty for none.
	DeadLetters string
	// Waiting counts the parked events whose bytes may lie in a tier that left the configuration. Without it a plan does
	// not say whether such a tier's topic can be removed.
	Waiting func(ctx context.Context, tier string) (int, error)
}

// Action is what is to be done with a topic.
type Action string

// The actions.
const (
	Keep   Action = "ok"
	Create Action = "create"
	Alter  Action = "alter"
	Grow   Action = "grow"
	Wrong  Action = "wrong"  // nothing that apply does: the message says what
	Orphan Action = "orphan" // left the configuration; it is read until it is empty

	Removable Action = "removable" // left the configuration, and nothing waits in it
)

// Change is one topic of a plan.
type Change struct {
	Topic      string            `json:"topic"`
	Action     Action            `json:"action"`
	Partitions int32             `json:"partitions"`
	Configs    map[string]string `json:"configs,omitempty"` // to be set
	Message    string            `json:"message,omitempty"`
	Retention  time.Duration     `json:"-"` // as it is, or will be; 0 for without end
	Has        int32             `json:"-"` // partitions of a topic that is there
	Letters    bool              `json:"-"` // it gets copies of dead letters, and is no tier's
}

// Plan is what apply would do.
type Plan struct {
	Changes     []Change `json:"changes"`
	Replication int      `json:"-"`
}

// Done says that there is nothing to do.
func (p *Plan) Done() bool {
	return !slices.ContainsFunc(p.Changes, func(c Change) bool {
		return c.Action != Keep && c.Action != Orphan && c.Action != Removable
	})
}

// MakePlan compares the tier topics with what they must be. It fails when the source topics don't fit.
func MakePlan(ctx context.Context, adm *kadm.Client, s Spec) (*Plan, error) {
	all, err := adm.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	partitions, err := sourcePartitions(all, s.Sources)
	if err != nil {
		return nil, err
	}
	left := orphans(all, s)
	var there []string
	for _, t := range slices.Concat(s.Sources, topicsOf(s.Tiers), left, []string{s.DeadLetters}) {
		if t != "" && all.Has(t) {
			there = append(there, t)
		}
	}
	configs, err := describe(ctx, adm, there)
	if err != nil {
		return nil, err
	}
	largest := 0
	for _, t := range s.Sources {
		n, err := strconv.Atoi(configs[t]["max.message.bytes"])
		if err != nil {
			n = defaultMaxBytes
		}
		largest = max(largest, n)
	}
	p := &Plan{Replication: s.Replication}
	for _, t := range s.Tiers {
		want := settings(t, largest+headerRoom)
		if !all.Has(t.Topic) {
			p.Changes = append(p.Changes, Change{
				Topic: t.Topic, Action: Create, Partitions: partitions, Configs: want, Retention: retention(t),
			})
			continue
		}
		p.Changes = append(p.Changes, check(t, int32(len(all[t.Topic].Partitions)), partitions, want, configs[t.Topic])) //nolint:gosec // a partition count
	}
	if s.DeadLetters != "" {
		p.Changes = append(p.Changes, letters(s.DeadLetters, all, configs[s.DeadLetters], partitions, largest+headerRoom))
	}
	for _, name := range left {
		c := orphan(ctx, s, name, configs[name])
		c.Partitions = int32(len(all[name].Partitions)) //nolint:gosec // a partition count
		p.Changes = append(p.Changes, c)
	}
	return p, nil
}

// orphan says whether a tier topic that is not configured still holds anything.
func orphan(ctx context.Context, s Spec, topic string, configs map[string]string) Change {
	c := Change{
		Topic: topic, Action: Orphan, Retention: currentRetention(configs, minRetention),
		Message: "no tier of the configuration: it is read until nothing waits in it, then it can be removed",
	}
	if s.Waiting == nil {
		return c
	}
	switch n, err := s.Waiting(ctx, strings.TrimPrefix(topic, Prefix(s.Group))); {
	case err != nil:
		c.Message += fmt.Sprintf(" (what waits in it is not known: %v)", err)
	case n > 0:
		c.Message = fmt.Sprintf("no tier of the configuration: it is read until the %d parked events in it have run, then it can be removed", n)
	default:
		c.Action, c.Message = Removable, "no tier of the configuration, and nothing waits in it: it can be removed"
	}
	return c
}

func topicsOf(tiers []Tier) []string {
	out := make([]string, len(tiers))
	for i, t := range tiers {
		out[i] = t.Topic
	}
	return out
}

// orphans are the group's tier topics that are not configured.
func orphans(all kadm.TopicDetails, s Spec) []string {
	var out []string
	for _, name := range all.Names() {
		if IsTopicOf(s.Group, name) && !slices.Contains(topicsOf(s.Tiers), name) {
			out = append(out, name)
		}
	}
	return out
}

// sourcePartitions is the partition count of the source topics, which must be there and be equal.
func sourcePartitions(all kadm.TopicDetails, sources []string) (int32, error) {
	var problems []error
	count, of := 0, ""
	for _, name := range sources {
		d, ok := all[name]
		switch {
		case !ok:
			problems = append(problems, fmt.Errorf("source topic %s does not exist, or may not be seen (Describe on the topic)", name))
		case d.Err != nil:
			problems = append(problems, fmt.Errorf("source topic %s: %w", name, d.Err))
		case count == 0:
			count, of = len(d.Partitions), name
		case len(d.Partitions) != count:
			problems = append(problems, fmt.Errorf("source topics of one consumer have equal partition counts: %s has %d, %s has %d "+
				"(`layby topics grow` makes them equal)",
				of, count, name, len(d.Partitions)))
		}
	}
	return int32(count), errors.Join(problems...) //nolint:gosec // a partition count
}

// settings are the configs that a tier's topic must have.
func settings(t Tier, maxBytes int) map[string]string {
	return map[string]string{
		"cleanup.policy": "delete",
		// With CreateTime, an old source timestamp would have the broker delete the record at once.
		"message.timestamp.type": "LogAppendTime",
		"retention.ms":           strconv.FormatInt(retention(t).Milliseconds(), 10),
		"retention.bytes":        "-1",
		"max.message.bytes":      strconv.Itoa(maxBytes),
	}
}

func retention(t Tier) time.Duration { return max(minRetention, delaysKept*t.Delay) }

// letters says what is to be done with the topic of copies. One that is there belongs to whoever made it: only what would lose
// copies is refused.
func letters(topic string, all kadm.TopicDetails, configs map[string]string, partitions int32, maxBytes int) Change {
	c := Change{Topic: topic, Letters: true, Partitions: partitions, Retention: currentRetention(configs, minRetention)}
	switch {
	case !all.Has(topic):
		c.Action = Create
		c.Configs = map[string]string{
			"cleanup.policy": "delete",
			// With CreateTime the copy of an old event would be deleted at once; a header has the event's time.
			"message.timestamp.type": "LogAppendTime",
			"max.message.bytes":      strconv.Itoa(maxBytes),
		}
		return c
	case strings.Contains(configs["cleanup.policy"], "compact"):
		c.Action = Wrong
		c.Message = "it is compacted, so that only the last dead letter of a key would stay, and none without a key: set cleanup.policy=delete, or name another dead_letter_topic"
	default:
		c.Action = Keep
	}
	c.Partitions = int32(len(all[topic].Partitions)) //nolint:gosec // a partition count
	c.Has = c.Partitions
	return c
}

// check compares a topic that is there.
func check(t Tier, have, want int32, configs, current map[string]string) Change {
	c := Change{
		Topic: t.Topic, Action: Keep, Partitions: want, Has: have, Configs: map[string]string{},
		Retention: currentRetention(current, retention(t)),
	}
	var wrong []string
	for _, key := range sortedKeys(configs) {
		if enough(key, current[key], configs[key]) {
			continue
		}
		c.Configs[key] = configs[key]
		wrong = append(wrong, fmt.Sprintf("%s is %s, needs %s", key, current[key], configs[key]))
	}
	if len(wrong) > 0 {
		c.Action = Alter
	}
	switch {
	case have < want:
		c.Action = Grow
		wrong = append(wrong, fmt.Sprintf("it has %d partitions, the source topics have %d", have, want))
	case have > want:
		c.Action = Wrong
		wrong = append(wrong, fmt.Sprintf("it has %d partitions, more than the %d of the source topics: was another topic's name taken?", have, want))
	}
	c.Message = strings.Join(wrong, "; ")
	return c
}

// currentRetention is how long a topic keeps its records, 0 for without end; otherwise when its configs don't say.
func currentRetention(configs map[string]string, otherwise time.Duration) time.Duration {
	ms, err := strconv.ParseInt(configs["retention.ms"], 10, 64)
	switch {
	case err != nil:
		return otherwise
	case ms < 0 || ms > math.MaxInt64/int64(time.Millisecond):
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// Retentions looks up how long topics keep their records now, 0 for without end.
func Retentions(ctx context.Context, adm *kadm.Client, topics ...string) (map[string]time.Duration, error) {
	configs, err := describe(ctx, adm, topics)
	if err != nil {
		return nil, err
	}
	out := map[string]time.Duration{}
	for _, t := range topics {
		out[t] = currentRetention(configs[t], minRetention)
	}
	return out, nil
}

// enough says that a config is as it must be; limits may be wider.
func enough(key, have, want string) bool {
	switch key {
	case "retention.ms", "max.message.bytes":
		h, err1 := strconv.ParseInt(have, 10, 64)
		w, err2 := strconv.ParseInt(want, 10, 64)
		return err1 == nil && err2 == nil && (h >= w || key == "retention.ms" && h < 0)
	}
	return have == want
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// describe reads the configs of topics. Without the right to, it says so.
func describe(ctx context.Context, adm *kadm.Client, topics []string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	if len(topics) == 0 {
		return out, nil
	}
	all, err := adm.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("describe the configs of topics: %w", err)
	}
	for _, rc := range all {
		if rc.Err != nil {
			return nil, fmt.Errorf("describe the configs of topic %s (DescribeConfigs is needed): %w", rc.Name, rc.Err)
		}
		out[rc.Name] = map[string]string{}
		for _, c := range rc.Configs {
			if c.Value != nil {
				out[rc.Name][c.Key] = *c.Value
			}
		}
	}
	return out, nil
}

// Apply does what a plan says. Without the right to, the error holds the commands that somebody with it can run.
func Apply(ctx context.Context, adm *kadm.Client, p *Plan) error {
	var problems []error
	denied := false
	for _, c := range p.Changes {
		err := apply(ctx, adm, p, c)
		if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
			continue
		}
		denied = denied || errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed)
		problems = append(problems, fmt.Errorf("%s topic %s: %w", c.Action, c.Topic, err))
	}
	if denied {
		problems = append(problems, fmt.Errorf("somebody with the right to can run:\n%s", strings.Join(p.Commands(), "\n")))
	}
	return errors.Join(problems...)
}

func apply(ctx context.Context, adm *kadm.Client, p *Plan, c Change) error {
	switch c.Action {
	case Create:
		replication := int16(-1)
		if p.Replication > 0 {
			replication = int16(p.Replication) //nolint:gosec // a replication factor
		}
		configs := map[string]*string{}
		for k, v := range c.Configs {
			configs[k] = kadm.StringPtr(v)
		}
		_, err := adm.CreateTopic(ctx, c.Partitions, replication, configs, c.Topic)
		return err
	case Grow:
		grown, err := adm.UpdatePartitions(ctx, int(c.Partitions), c.Topic)
		if err == nil {
			err = grown.Error()
		}
		if err != nil {
			return err
		}
		return alter(ctx, adm, c)
	case Alter:
		return alter(ctx, adm, c)
	case Wrong:
		return errors.New(c.Message)
	case Keep, Orphan, Removable:
	}
	return nil
}

func alter(ctx context.Context, adm *kadm.Client, c Change) error {
	if len(c.Configs) == 0 {
		return nil
	}
	var set []kadm.AlterConfig
	for _, k := range sortedKeys(c.Configs) {
		set = append(set, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: kadm.StringPtr(c.Configs[k])})
	}
	all, err := adm.AlterTopicConfigs(ctx, set, c.Topic)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// Commands are the shell commands that do what a plan says, with Kafka's own tools.
func (p *Plan) Commands() []string {
	const server = "--bootstrap-server \"$BROKERS\""
	var out []string
	for _, c := range p.Changes {
		switch c.Action {
		case Create:
			cmd := fmt.Sprintf("kafka-topics.sh %s --create --topic %s --partitions %d", server, c.Topic, c.Partitions)
			if p.Replication > 0 {
				cmd += fmt.Sprintf(" --replication-factor %d", p.Replication)
			}
			for _, k := range sortedKeys(c.Configs) {
				cmd += fmt.Sprintf(" --config %s=%s", k, c.Configs[k])
			}
			out = append(out, cmd)
		case Grow:
			out = append(out, fmt.Sprintf("kafka-topics.sh %s --alter --topic %s --partitions %d", server, c.Topic, c.Partitions))
			fallthrough
		case Alter:
			if len(c.Configs) == 0 {
				continue
			}
			var set []string
			for _, k := range sortedKeys(c.Configs) {
				set = append(set, k+"="+c.Configs[k])
			}
			out = append(out, fmt.Sprintf("kafka-configs.sh %s --alter --entity-type topics --entity-name %s --add-config %s",
				server, c.Topic, strings.Join(set, ",")))
		case Keep, Wrong, Orphan, Removable:
		}
	}
	return out
}
