package doctor

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"os"
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
	e.brokers(asking, adm, md)
	for i := range e.Config.Consumers {
		e.consumer(ctx, cl, adm, &e.Config.Consumers[i])
	}
}

// brokers looks at which of them answer, and at their versions.
func (e *examination) brokers(ctx context.Context, adm *kadm.Client, md kadm.Metadata) {
	all, err := adm.ApiVersions(ctx)
	if err != nil {
		e.unknown("kafka", "", fmt.Errorf("which versions the brokers have: %w", err))
		return
	}
	var versions, silent []string
	old := false
	for _, v := range all.Sorted() {
		if v.Err != nil {
			silent = append(silent, fmt.Sprintf("broker %d does not answer: %s", v.NodeID, oneLine(v.Err)))
			continue
		}
		guess := v.VersionGuess()
		old = old || below3(&v)
		if !slices.Contains(versions, guess) {
			versions = append(versions, guess)
		}
	}
	slices.Sort(versions)
	text := fmt.Sprintf("%s; Kafka %s; cluster %s", count(len(md.Brokers)-len(silent), "broker answers", "brokers answer"), strings.Join(versions, " and "), md.Cluster)
	if old {
		e.say("kafka", "", Failed, text+": Layby needs Kafka 3.0 or later", "upgrade the brokers to Kafka 3.0 or later")
	} else {
		e.say("kafka", "", OK, text)
	}
	if len(silent) > 0 {
		e.say("kafka", "", Warning, strings.Join(silent, "; "), "check that what those brokers advertise can be reached from here, and that they run")
	}
}

// since3 are the versions of requests that came with Kafka 3.0: list offsets, fetch offsets, find a coordinator.
var since3 = map[int16]int16{2: 7, 9: 8, 10: 4}

// below3 says that a broker knows no request of Kafka 3.0. A guess of the version is none to build on: those of other makers differ.
func below3(v *kadm.BrokerApiVersions) bool {
	for key, version := range since3 {
		if most, _ := v.KeyMaxVersion(key); most >= version {
			return false
		}
	}
	return true
}

func (e *examination) consumer(ctx context.Context, cl *kgo.Client, adm *kadm.Client, c *config.Consumer) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	tiers := retrytiers.Of(c.Group, c.Retry.Tiers)
	names := slices.Clone(c.Topics)
	for _, t := range tiers {
		names = append(names, t.Topic)
	}
	if c.DeadLetterTopic != "" {
		names = append(names, c.DeadLetterTopic)
	}
	seen, err := look(ctx, cl, names)
	if err != nil {
		for _, check := range []string{"rights", "topics", "safety"} {
			e.unknown(check, c.Group, err)
		}
		return
	}
	e.rights(ctx, cl, c, tiers, seen)
	e.topics(ctx, adm, c, seen)
	e.safety(ctx, adm, c, names, seen)
}

// operations are what the user may do with something. It is nil where that is not known.
type operations map[kmsg.ACLOperation]bool

// notTold is what brokers answer that don't say what a user may do.
const notTold = math.MinInt32

func operationsOf(bits int32) operations {
	if bits == notTold {
		return nil
	}
	o := operations{}
	for _, op := range kadm.DecodeACLOperations(bits) {
		o[op] = true
	}
	return o
}

// topic is what the brokers say of one.
type topic struct {
	err        error // UnknownTopicOrPartition if it is not there, TopicAuthorizationFailed if it may not be seen
	may        operations
	partitions int
	replicas   int // of the partition that has the fewest
	inSync     int // likewise
}

func (t *topic) missing() bool { return errors.Is(t.err, kerr.UnknownTopicOrPartition) }

// look asks for topics.
func look(ctx context.Context, cl *kgo.Client, names []string) (map[string]*topic, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("ask about the topics: %w", err)
	}
	out := map[string]*topic{}
	for _, name := range names {
		out[name] = &topic{err: errors.New("the brokers say nothing of it")}
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil {
			continue
		}
		have := &topic{err: kerr.ErrorForCode(t.ErrorCode), may: operationsOf(t.AuthorizedOperations), partitions: len(t.Partitions)}
		switch {
		case errors.Is(have.err, kerr.TopicAuthorizationFailed):
			have.may = operations{}
		case have.missing() && len(have.may) == 0:
			have.may = nil
		}
		for j, p := range t.Partitions {
			if j == 0 || len(p.Replicas) < have.replicas {
				have.replicas = len(p.Replicas)
			}
			if j == 0 || len(p.ISR) < have.inSync {
				have.inSync = len(p.ISR)
			}
		}
		out[*t.Topic] = have
	}
	return out, nil
}

// rights looks at what the user may do with the consumer's topics and group.
func (e *examination) rights(ctx context.Context, cl *kgo.Client, c *config.Consumer, tiers []retrytiers.Tier, seen map[string]*topic) {
	r := &rights{}
	for _, name := range c.Topics {
		r.need(name, "--topic "+word(name), seen[name].may, kmsg.ACLOperationRead, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs)
	}
	var absent []string
	lacking := operations{} // one command is for all tiers
	for _, t := range tiers {
		have := seen[t.Topic]
		if have.err != nil {
			absent = append(absent, t.Topic)
		}
		if have.may == nil {
			r.unknown = append(r.unknown, t.Topic)
			continue
		}
		for _, op := range []kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs} {
			lacking[op] = lacking[op] || !have.may[op]
		}
	}
	denied, err := e.create(ctx, cl, c, absent, seen)
	switch {
	case err != nil:
		r.unknown = append(r.unknown, "creating the retry topics ("+oneLine(err)+")")
	case denied:
		lacking[kmsg.ACLOperationCreate] = true
	}
	var ops []kmsg.ACLOperation
	for _, op := range []kmsg.ACLOperation{
		kmsg.ACLOperationCreate, kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs,
	} {
		if lacking[op] {
			ops = append(ops, op)
		}
	}
	r.lack("--resource-pattern-type prefixed --topic "+word(retrytiers.Prefix(c.Group)), ops)
	if e.copies(ctx, cl, c, r, seen) {
		denied = true
	}
	may, err := group(ctx, cl, c.Group)
	if err != nil {
		r.unknown = append(r.unknown, "the group "+c.Group+" ("+oneLine(err)+")")
	} else {
		r.need("the group "+c.Group, "--group "+word(c.Group), may, kmsg.ACLOperationRead, kmsg.ACLOperationDescribe)
	}
	if r.count > 0 {
		text := count(r.count, "right is missing", "rights are missing")
		if denied {
			text += "; the retry topics are not there, and may not be created"
		}
		e.say("rights", c.Group, Failed, text, e.commands(r, denied)...)
	}
	if len(r.unknown) > 0 {
		e.say("rights", c.Group, Skipped, "the brokers don't say what may be done with "+strings.Join(r.unknown, ", "))
	}
	if r.count+len(r.unknown) == 0 {
		e.say("rights", c.Group, OK, "the topics can be read and written, the group can be joined")
	}
}

// copies looks at what the user may do with the topic of copies of dead letters. It says that it is not there and creating it is
// denied.
func (e *examination) copies(ctx context.Context, cl *kgo.Client, c *config.Consumer, r *rights, seen map[string]*topic) (denied bool) {
	topic := c.DeadLetterTopic
	if topic == "" {
		return false
	}
	have := seen[topic]
	r.need(topic, "--topic "+word(topic), have.may, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs)
	if have.err == nil {
		return false
	}
	denied, err := e.create(ctx, cl, c, []string{topic}, seen)
	switch {
	case err != nil:
		r.unknown = append(r.unknown, "creating "+topic+" ("+oneLine(err)+")")
	case denied:
		r.lack("--topic "+word(topic), []kmsg.ACLOperation{kmsg.ACLOperationCreate})
	}
	return denied
}

// rights are those that are missing, and what is not known.
type rights struct {
	count   int
	missing []string // what is appended to a command that gives them
	unknown []string
}

// need notes which of some operations are missing.
func (r *rights) need(what, resource string, have operations, need ...kmsg.ACLOperation) {
	if have == nil {
		r.unknown = append(r.unknown, what)
		return
	}
	r.lack(resource, slices.DeleteFunc(need, func(op kmsg.ACLOperation) bool { return have[op] }))
}

func (r *rights) lack(resource string, ops []kmsg.ACLOperation) {
	if len(ops) == 0 {
		return
	}
	var text strings.Builder
	for _, op := range ops {
		text.WriteString("--operation " + operationName(op) + " ")
	}
	r.count += len(ops)
	r.missing = append(r.missing, text.String()+resource)
}

// commands give the missing rights to the user of the brokers that this consumer is.
func (e *examination) commands(r *rights, denied bool) []string {
	principal, note := e.principal()
	var do []string
	if note != "" {
		do = append(do, note)
	}
	for _, m := range r.missing {
		do = append(do, fmt.Sprintf("kafka-acls.sh --bootstrap-server %q --add --allow-principal %s %s", "$BROKERS", principal, m))
	}
	if denied {
		do = append(do, "or, instead of Create, have somebody with the right to run what this prints: layby topics plan --commands")
	}
	return do
}

// create asks the brokers to check, without doing it, that retry topics can be created. It says that this is denied.
func (e *examination) create(ctx context.Context, cl *kgo.Client, c *config.Consumer, names []string, seen map[string]*topic) (denied bool, err error) {
	if len(names) == 0 {
		return false, nil
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.ValidateOnly = true
	req.TimeoutMillis = int32(lookTimeout.Milliseconds())
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, int32(max(seen[c.Topics[0]].partitions, 1)), -1 //nolint:gosec // a partition count
		if c.TopicReplication > 0 {
			t.ReplicationFactor = int16(c.TopicReplication) //nolint:gosec // a replication factor
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return false, err
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case err == nil, errors.Is(err, kerr.TopicAlreadyExists):
		case authorization(err):
			return true, nil
		case errors.Is(err, kerr.InvalidReplicationFactor), errors.Is(err, kerr.PolicyViolation), errors.Is(err, kerr.InvalidTopicException):
			text := t.Topic + " can't be created: " + oneLine(err)
			if t.ErrorMessage != nil {
				text += " " + *t.ErrorMessage
			}
			e.say("topics", c.Group, Failed, text, "correct topic_replication in the configuration, or the group's name, or what the brokers object to")
		default:
			return false, err
		}
	}
	return false, nil
}

// group finds out what may be done with a consumer group. Of one that is not there yet brokers don't say it, so a heartbeat of a
// member that does not exist asks for Read: the answer is that it is none, or that it may not ask. It changes nothing.
func group(ctx context.Context, cl *kgo.Client, name string) (operations, error) {
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups, describe.IncludeAuthorizedOperations = []string{name}, true
	described, err := describe.RequestWith(ctx, cl)
	if err != nil && !authorization(err) {
		return nil, err
	}
	may := operations{kmsg.ACLOperationDescribe: true}
	var told operations
	if err == nil && len(described.Groups) > 0 {
		err, told = kerr.ErrorForCode(described.Groups[0].ErrorCode), operationsOf(described.Groups[0].AuthorizedOperations)
	}
	if authorization(err) {
		may[kmsg.ACLOperationDescribe] = false
	}
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID, beat.Generation = name, "layby-doctor", 0
	answer, err := beat.RequestWith(ctx, cl)
	if err == nil {
		err = kerr.ErrorForCode(answer.ErrorCode)
	}
	switch {
	case authorization(err):
	case err == nil, errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.RebalanceInProgress):
		may[kmsg.ACLOperationRead] = true
	case !may[kmsg.ACLOperationDescribe]:
		// Read would bring Describe along.
	case len(told) > 0:
		may = told
	default:
		return nil, err
	}
	return may, nil
}

// authorization says that an error is about rights.
func authorization(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.GroupAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed)
}

// operationName is what Kafka's own tool calls an operation.
func operationName(op kmsg.ACLOperation) string {
	switch op { //nolint:exhaustive // those that a consumer needs
	case kmsg.ACLOperationCreate:
		return "Create"
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

// unknownPrincipal has a shell refuse a command until somebody has said who the user is.
const unknownPrincipal = `"User:${PRINCIPAL:?as which user the brokers know this consumer}"`

// principal is the user that rights are given to, as a word for a shell, and what a person has to know of it first.
func (e *examination) principal() (word, note string) {
	k := e.Config.Kafka
	switch {
	case k.SASL != nil:
		return quoted("User:" + k.SASL.User), ""
	case k.TLS == nil || k.TLS.CertFile == "":
		return unknownPrincipal, "this consumer does not log in (kafka.sasl, kafka.tls.cert_file), so the brokers take it for User:ANONYMOUS, and what " +
			"that may do everybody may who does not log in: let it log in, and give the rights to that user as PRINCIPAL"
	}
	subject, err := subjectOf(k.TLS)
	if err != nil {
		return unknownPrincipal, "the user is made of the subject of kafka.tls.cert_file, which can't be read: " + oneLine(err)
	}
	return quoted("User:" + subject), "the user is the subject of kafka.tls.cert_file, unless the brokers' ssl.principal.mapping.rules make another of it: use that one then"
}

// subjectOf is the subject of the client's certificate, as brokers write it.
func subjectOf(cfg *config.TLS) (string, error) {
	text, err := os.ReadFile(cfg.CertFile)
	if err != nil {
		return "", err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", err
		}
		var names pkix.RDNSequence
		if _, err := asn1.Unmarshal(cert.RawSubject, &names); err != nil {
			return "", err
		}
		return names.String(), nil
	}
	return "", fmt.Errorf("%s holds no certificate in PEM form", cfg.CertFile)
}

// quoted is a text as one word of a shell's command.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// word quotes a name if a shell would read anything else into it.
func word(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" && name != "" {
		return name
	}
	return quoted(name)
}

// topics looks at the source topics and retry topics.
func (e *examination) topics(ctx context.Context, adm *kadm.Client, c *config.Consumer, seen map[string]*topic) {
	fit := true
	counts := map[int]bool{}
	for _, name := range c.Topics {
		switch t := seen[name]; {
		case t.missing():
			fit = false
			e.say("topics", c.Group, Failed, "source topic "+name+" does not exist", "create it, or correct topics in the configuration")
		case authorization(t.err):
			fit = false
			e.say("topics", c.Group, Failed, "source topic "+name+" may not be seen", "give the rights that are missing")
		case t.err != nil:
			fit = false
			e.unknown("topics", c.Group, fmt.Errorf("source topic %s: %w", name, t.err))
		default:
			counts[t.partitions] = true
		}
	}
	if !fit {
		return
	}
	plan, err := retrytiers.MakePlan(ctx, adm, retrytiers.Spec{
		Group: c.Group, Sources: c.Topics, Tiers: retrytiers.Of(c.Group, c.Retry.Tiers), Replication: c.TopicReplication,
		DeadLetters: c.DeadLetterTopic,
	})
	switch {
	case err == nil:
	case authorization(err):
		e.say("topics", c.Group, Failed, oneLine(err), "give the rights Describe and DescribeConfigs on the consumer's topics")
		return
	case len(counts) > 1:
		e.say("topics", c.Group, Failed, oneLine(err), "layby topics grow, or correct topics in the configuration")
		return
	default:
		e.unknown("topics", c.Group, err)
		return
	}
	whole := true
	for _, ch := range plan.Changes {
		if ch.Action == retrytiers.Keep {
			continue
		}
		whole = false
		switch ch.Action { //nolint:exhaustive // Keep is above
		case retrytiers.Create:
			e.say("topics", c.Group, Warning, ch.Topic+" is missing: the consumer creates it when it starts, if it may", "layby topics apply")
		case retrytiers.Orphan, retrytiers.Removable:
			e.say("topics", c.Group, Warning, ch.Topic+": "+ch.Message, "layby topics plan")
		case retrytiers.Alter, retrytiers.Grow:
			e.say("topics", c.Group, Failed, ch.Topic+": "+ch.Message, "layby topics apply")
		case retrytiers.Wrong:
			e.say("topics", c.Group, Failed, ch.Topic+": "+ch.Message, "remove it if it is nobody's, or use another name")
		}
	}
	if whole {
		e.say("topics", c.Group, OK, fmt.Sprintf("%s with equal partitions, %s as they must be",
			count(len(c.Topics), "source topic", "source topics"), count(len(c.Retry.Tiers), "retry topic", "retry topics")))
	}
}

// safety looks at the settings that the guarantees rest on. It is well only if all topics were seen.
func (e *examination) safety(ctx context.Context, adm *kadm.Client, c *config.Consumer, names []string, seen map[string]*topic) {
	var there, unseen []string
	for _, name := range names {
		switch t := seen[name]; {
		case t.missing():
			unseen = append(unseen, name+" (not there yet)")
		case t.err != nil:
			unseen = append(unseen, name+" ("+oneLine(t.err)+")")
		default:
			there = append(there, name)
		}
	}
	before := len(e.findings)
	if len(there) > 0 {
		described, err := adm.DescribeTopicConfigs(ctx, there...)
		if err != nil {
			unseen = append(unseen, strings.Join(there, ", ")+" ("+oneLine(err)+")")
			described, there = nil, nil
		}
		for _, name := range there {
			i := slices.IndexFunc(described, func(d kadm.ResourceConfig) bool { return d.Name == name })
			switch {
			case i < 0:
				unseen = append(unseen, name+" (the brokers say nothing of it)")
			case described[i].Err != nil:
				unseen = append(unseen, name+" ("+oneLine(described[i].Err)+")")
			case !e.settings(c, described[i], seen[name]):
				unseen = append(unseen, name+" (min.insync.replicas is not told)")
			}
		}
	}
	if len(unseen) > 0 {
		e.say("safety", c.Group, Skipped, "not known of "+strings.Join(unseen, ", "))
	}
	if len(e.findings) == before {
		e.say("safety", c.Group, OK, "replication, retention and clean-up policy are as the guarantees need them")
	}
}

// settings looks at those of one topic. False means that they were not told.
func (e *examination) settings(c *config.Consumer, d kadm.ResourceConfig, t *topic) bool {
	value := map[string]string{}
	for _, kv := range d.Configs {
		value[kv.Key] = kv.MaybeValue()
	}
	alter := func(setting string) string {
		return fmt.Sprintf("kafka-configs.sh --bootstrap-server %q --alter --entity-type topics --entity-name %s --add-config %s", "$BROKERS", word(d.Name), setting)
	}
	least, err := strconv.Atoi(value["min.insync.replicas"])
	replicas := count(t.replicas, "replica", "replicas")
	switch {
	case err != nil:
	case t.replicas < least:
		e.say("safety", c.Group, Failed, fmt.Sprintf("%s has %s, and min.insync.replicas is %d: nothing can be written to it", d.Name, replicas, least),
			"give the topic three replicas (kafka-reassign-partitions.sh)")
	case t.inSync < least:
		e.say("safety", c.Group, Failed, fmt.Sprintf("%s has %s of which %d are in sync, and min.insync.replicas is %d: nothing can be written to it now",
			d.Name, replicas, t.inSync, least), "bring the brokers back that are away")
	case least < 2:
		e.say("safety", c.Group, Warning, fmt.Sprintf("%s: min.insync.replicas is %d, with %s: a broker that dies can take acknowledged records along (G1)",
			d.Name, least, replicas), "give the topic three replicas, then "+alter("min.insync.replicas=2"))
	case t.replicas == least:
		e.say("safety", c.Group, Warning, fmt.Sprintf("%s has %s, as many as min.insync.replicas: while a broker is away nothing can be written to it", d.Name, replicas),
			"give the topic three replicas (kafka-reassign-partitions.sh)")
	}
	if value["unclean.leader.election.enable"] == "true" {
		e.say("safety", c.Group, Warning, d.Name+": unclean.leader.election.enable is on: acknowledged records can be lost (G1)",
			alter("unclean.leader.election.enable=false"))
	}
	if !slices.Contains(c.Topics, d.Name) {
		return err == nil
	}
	if strings.Contains(value["cleanup.policy"], "compact") {
		e.say("safety", c.Group, Warning, d.Name+" is compacted: an event that a later one of its key replaced before it was read is gone, and what waits can't be rewound")
	}
	if ms, err := strconv.ParseInt(value["retention.ms"], 10, 64); err == nil && ms >= 0 && time.Duration(ms)*time.Millisecond < shortRetention {
		e.say("safety", c.Group, Warning, fmt.Sprintf("%s keeps records for %v: what a consumer that stands still has not read by then is lost",
			d.Name, time.Duration(ms)*time.Millisecond), alter("retention.ms="+strconv.FormatInt((7*24*time.Hour).Milliseconds(), 10)))
	}
	return err == nil
}
