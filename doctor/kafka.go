package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/retrytiers"
)

// shortRetention is a retention of source records below which a consumer that stands still over a weekend loses some.
const shortRetention = 72 * time.Hour

// kafka looks at the brokers, and at what each consumer needs of them.
func (e *examination) kafka(ctx context.Context) {
	cl, err := kgo.NewClient(e.Kafka...)
	if err != nil {
		e.say("kafka", "", Failed, oneLine(err), "correct the section kafka of the configuration")
		return
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	asking, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	md, err := adm.BrokerMetadata(asking)
	if err != nil {
		e.say("kafka", "", Failed, "no broker answers: "+oneLine(err),
			"check that "+strings.Join(e.Config.Kafka.Brokers, ", ")+" (kafka.brokers) can be reached from here, and what the brokers advertise",
			"check kafka.tls and kafka.sasl")
		return
	}
	e.cluster = md.Cluster
	e.say("kafka", "", OK, fmt.Sprintf("%d brokers answer; %s; cluster %s", len(md.Brokers), e.version(asking, adm), md.Cluster))
	for i := range e.Config.Consumers {
		e.consumer(ctx, cl, adm, &e.Config.Consumers[i])
	}
}

// version is what the brokers say that they can do.
func (e *examination) version(ctx context.Context, adm *kadm.Client) string {
	all, err := adm.ApiVersions(ctx)
	if err != nil {
		return "version not known: " + oneLine(err)
	}
	guesses := map[string]bool{}
	all.Each(func(v kadm.BrokerApiVersions) {
		if v.Err == nil {
			guesses[v.VersionGuess()] = true
		}
	})
	var list []string
	for g := range guesses {
		list = append(list, g)
	}
	slices.Sort(list)
	return "Kafka " + strings.Join(list, " and ")
}

func (e *examination) consumer(ctx context.Context, cl *kgo.Client, adm *kadm.Client, c *config.Consumer) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	allowed, err := e.rights(ctx, cl, adm, c)
	if err != nil {
		e.unknown("rights", c.Group, err)
	}
	if allowed {
		e.topics(ctx, adm, c)
		e.safety(ctx, adm, c)
	}
}

// rights looks at what the user may do with the consumer's topics and group. False means that the topics can't be looked at.
func (e *examination) rights(ctx context.Context, cl *kgo.Client, adm *kadm.Client, c *config.Consumer) (bool, error) {
	tiers := retrytiers.Of(c.Group, c.Retry.Tiers)
	names := slices.Clone(c.Topics)
	for _, t := range tiers {
		names = append(names, t.Topic)
	}
	allowed, err := operations(ctx, cl, names)
	if err != nil {
		return true, err
	}
	var missing []string
	lack := func(resource string, have map[kmsg.ACLOperation]bool, need ...kmsg.ACLOperation) bool {
		var ops []string
		for _, op := range need {
			if !have[op] {
				ops = append(ops, "--operation "+operationName(op))
			}
		}
		if len(ops) > 0 {
			missing = append(missing, fmt.Sprintf("kafka-acls.sh --bootstrap-server %q --add --allow-principal %q %s %s",
				"$BROKERS", "User:"+e.principal(), strings.Join(ops, " "), resource))
		}
		return len(ops) == 0
	}
	there := true
	for _, t := range c.Topics {
		if have, known := allowed[t]; known {
			there = lack("--topic "+t, have, kmsg.ACLOperationRead, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs) && there
		}
	}
	for _, t := range tiers {
		if have, known := allowed[t.Topic]; known && !lack("--resource-pattern-type prefixed --topic "+retrytiers.Prefix(c.Group), have,
			kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs) {
			there = false
			break // one command is for all of them
		}
	}
	if groups, err := adm.DescribeGroups(ctx, c.Group); err == nil {
		g := groups[c.Group]
		have := map[kmsg.ACLOperation]bool{}
		for _, op := range g.AuthorizedOperations {
			have[op] = true
		}
		if len(have) > 0 || errors.Is(g.Err, kerr.GroupAuthorizationFailed) {
			lack("--group "+c.Group, have, kmsg.ACLOperationRead, kmsg.ACLOperationDescribe)
		}
	}
	if len(missing) > 0 {
		e.say("rights", c.Group, Failed, fmt.Sprintf("%d rights are missing", len(missing)), missing...)
		return there, nil
	}
	e.say("rights", c.Group, OK, "the topics can be read and written, the group can be joined")
	return true, nil
}

// operations are what the user may do with topics. One that is not there is left out.
func operations(ctx context.Context, cl *kgo.Client, topics []string) (map[string]map[kmsg.ACLOperation]bool, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("ask what may be done with the topics: %w", err)
	}
	out := map[string]map[kmsg.ACLOperation]bool{}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		err := kerr.ErrorForCode(t.ErrorCode)
		if t.Topic == nil || errors.Is(err, kerr.UnknownTopicOrPartition) {
			continue
		}
		out[*t.Topic] = map[kmsg.ACLOperation]bool{}
		if err == nil {
			for _, op := range kadm.DecodeACLOperations(t.AuthorizedOperations) {
				out[*t.Topic][op] = true
			}
		}
	}
	return out, nil
}

// operationName is what Kafka's own tool calls an operation.
func operationName(op kmsg.ACLOperation) string {
	switch op { //nolint:exhaustive // those that a consumer needs
	case kmsg.ACLOperationDescribeConfigs:
		return "DescribeConfigs"
	case kmsg.ACLOperationDescribe:
		return "Describe"
	case kmsg.ACLOperationRead:
		return "Read"
	case kmsg.ACLOperationWrite:
		return "Write"
	}
	return op.String()
}

// principal is the user as rights are given to.
func (e *examination) principal() string {
	if e.Config.Kafka.SASL != nil {
		return e.Config.Kafka.SASL.User
	}
	return "ANONYMOUS"
}

// topics looks at the source topics and retry topics.
func (e *examination) topics(ctx context.Context, adm *kadm.Client, c *config.Consumer) {
	plan, err := retrytiers.MakePlan(ctx, adm, retrytiers.Spec{
		Group: c.Group, Sources: c.Topics, Tiers: retrytiers.Of(c.Group, c.Retry.Tiers), Replication: c.TopicReplication,
	})
	if err != nil {
		e.say("topics", c.Group, Failed, oneLine(err), "create the source topics with equal partition counts, or correct topics in the configuration")
		return
	}
	fine := 0
	for _, ch := range plan.Changes {
		switch ch.Action {
		case retrytiers.Keep:
			fine++
		case retrytiers.Create:
			e.say("topics", c.Group, Warning, ch.Topic+" is missing: the consumer creates it when it starts, if it may", "layby topics apply")
		case retrytiers.Orphan, retrytiers.Removable:
			e.say("topics", c.Group, Warning, ch.Topic+": "+ch.Message, "layby topics plan")
		case retrytiers.Alter, retrytiers.Grow:
			e.say("topics", c.Group, Failed, ch.Topic+": "+ch.Message, "layby topics apply")
		case retrytiers.Wrong:
			e.say("topics", c.Group, Failed, ch.Topic+": "+ch.Message)
		}
	}
	e.say("topics", c.Group, OK, fmt.Sprintf("%d source topics with equal partitions, %d retry topics as they must be", len(c.Topics), fine))
}

// safety looks at the settings that the guarantees rest on.
func (e *examination) safety(ctx context.Context, adm *kadm.Client, c *config.Consumer) {
	names := slices.Clone(c.Topics)
	for _, t := range retrytiers.Of(c.Group, c.Retry.Tiers) {
		names = append(names, t.Topic)
	}
	described, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		e.unknown("safety", c.Group, err)
		return
	}
	before := len(e.findings)
	for _, d := range described {
		if d.Err == nil {
			e.settings(c, d)
		}
	}
	if len(e.findings) == before {
		e.say("safety", c.Group, OK, "replication, retention and clean-up policy are as the guarantees need them")
	}
}

// settings looks at those of one topic.
func (e *examination) settings(c *config.Consumer, d kadm.ResourceConfig) {
	value := map[string]string{}
	for _, kv := range d.Configs {
		value[kv.Key] = kv.MaybeValue()
	}
	alter := func(setting string) string {
		return fmt.Sprintf("kafka-configs.sh --bootstrap-server %q --alter --entity-type topics --entity-name %s --add-config %s", "$BROKERS", d.Name, setting)
	}
	if n, err := strconv.Atoi(value["min.insync.replicas"]); err == nil && n < 2 {
		e.say("safety", c.Group, Warning, d.Name+": min.insync.replicas is 1: a broker that dies can take acknowledged records along (G1)",
			"give the topic three replicas, then "+alter("min.insync.replicas=2"))
	}
	if value["unclean.leader.election.enable"] == "true" {
		e.say("safety", c.Group, Warning, d.Name+": unclean.leader.election.enable is on: acknowledged records can be lost (G1)",
			alter("unclean.leader.election.enable=false"))
	}
	if !slices.Contains(c.Topics, d.Name) {
		return
	}
	if strings.Contains(value["cleanup.policy"], "compact") {
		e.say("safety", c.Group, Warning, d.Name+" is compacted: an event that a later one of its key replaced before it was read is gone, and what waits can't be rewound")
	}
	if ms, err := strconv.ParseInt(value["retention.ms"], 10, 64); err == nil && ms >= 0 && time.Duration(ms)*time.Millisecond < shortRetention {
		e.say("safety", c.Group, Warning, fmt.Sprintf("%s keeps records for %v: what a consumer that stands still has not read by then is lost",
			d.Name, time.Duration(ms)*time.Millisecond), alter("retention.ms="+strconv.FormatInt((7*24*time.Hour).Milliseconds(), 10)))
	}
}
