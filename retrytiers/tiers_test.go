package retrytiers_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/retrytiers"
)

func TestMain(m *testing.M) {
	code := stack.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

func TestATierIsNamedAfterItsDelay(t *testing.T) {
	for delay, want := range map[time.Duration]string{
		time.Minute: "1m", 10 * time.Minute: "10m", time.Hour: "1h", 24 * time.Hour: "24h", 90 * time.Second: "90s",
		30 * time.Second: "30s", 500 * time.Millisecond: "500ms", 1500 * time.Millisecond: "1500ms",
	} {
		if got := retrytiers.Name(delay); got != want {
			t.Errorf("the tier of %v is called %s, wanted %s", delay, got, want)
		}
	}
	tiers := retrytiers.Of("orders", []config.Tier{{Delay: time.Minute, Attempts: 1}, {Delay: time.Hour, Attempts: 3}})
	if tiers[0].Topic != "orders.retry.1m" || tiers[1].Topic != "orders.retry.1h" || tiers[1].Attempts != 3 {
		t.Errorf("tiers %+v", tiers)
	}
}

// fake is a cluster of kfake with a source topic of three partitions.
func fake(t *testing.T) (*kfake.Cluster, *kadm.Client) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return c, kadm.NewClient(cl)
}

func spec(delays ...time.Duration) retrytiers.Spec {
	var tiers []config.Tier
	for _, d := range delays {
		tiers = append(tiers, config.Tier{Delay: d, Attempts: 1})
	}
	return retrytiers.Spec{Group: "orders", Sources: []string{"events"}, Tiers: retrytiers.Of("orders", tiers)}
}

func TestWithoutTheRightToCreateTheErrorHoldsTheCommands(t *testing.T) {
	c, adm := fake(t)
	c.ControlKey(kmsg.CreateTopics.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		in, ok := req.(*kmsg.CreateTopicsRequest)
		if !ok {
			return nil, nil, false
		}
		out := kmsg.NewPtrCreateTopicsResponse()
		out.Version = in.Version
		for _, topic := range in.Topics {
			rt := kmsg.NewCreateTopicsResponseTopic()
			rt.Topic, rt.ErrorCode = topic.Topic, kerr.TopicAuthorizationFailed.Code
			out.Topics = append(out.Topics, rt)
		}
		return out, nil, true
	})
	plan, err := retrytiers.MakePlan(t.Context(), adm, spec(time.Minute, 24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	err = retrytiers.Apply(t.Context(), adm, plan)
	if err == nil {
		t.Fatal("topics were created without the right to")
	}
	for _, want := range []string{
		`kafka-topics.sh --bootstrap-server "$BROKERS" --create --topic orders.retry.1m --partitions 3`,
		`kafka-topics.sh --bootstrap-server "$BROKERS" --create --topic orders.retry.24h --partitions 3`,
		"--config message.timestamp.type=LogAppendTime", "--config cleanup.policy=delete", "--config retention.bytes=-1",
		"--config retention.ms=604800000", // 7 days
		"--config retention.ms=864000000", // ten times a day
		"TOPIC_AUTHORIZATION_FAILED",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestSourceTopicsMustBeThereAndEqual(t *testing.T) {
	_, adm := fake(t)
	if _, err := adm.CreateTopic(t.Context(), 2, 1, nil, "other"); err != nil {
		t.Fatal(err)
	}
	s := spec(time.Minute)
	s.Sources = []string{"events", "other", "missing"}
	_, err := retrytiers.MakePlan(t.Context(), adm, s)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"events has 3, other has 2", "source topic missing does not exist"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestTopicsThatOnlyBeginLikeATierAreNone(t *testing.T) {
	_, adm := fake(t)
	tiers := []string{"orders.retry.90s", "orders.retry.1500ms", "orders.retry.24h"}
	for _, name := range append([]string{
		"orders.retry.retry.1m", "orders.retry.shipped", "orders.retry.", "orders.retry.60s", "orders.retry.-1m", "orders.retry.0s", "orders2.retry.1m",
	}, tiers...) {
		if _, err := adm.CreateTopic(t.Context(), 3, 1, nil, name); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	for _, c := range makePlan(t, adm, spec(time.Minute)).Changes {
		if c.Action == retrytiers.Orphan {
			left = append(left, c.Topic)
		}
	}
	slices.Sort(tiers)
	if !slices.Equal(left, tiers) {
		t.Errorf("%v are tiers that left the configuration, expected %v", left, tiers)
	}
}

// On a real broker a plan is applied, then there is nothing left to do; what was changed by hand is found and mended.
func TestAPlanIsAppliedAndChecked(t *testing.T) {
	kafka := stack.SharedKafka(t)
	adm := kafka.Admin(t)
	name := stack.Name(t, "tiers")
	kafka.CreateTopics(t, 3, map[string]string{"max.message.bytes": "2000000"}, name+"-events")
	s := retrytiers.Spec{Group: name, Sources: []string{name + "-events"}, Tiers: retrytiers.Of(name, []config.Tier{
		{Delay: time.Minute, Attempts: 1}, {Delay: time.Hour, Attempts: 1},
	})}
	apply(t, adm, s)
	if plan := makePlan(t, adm, s); !plan.Done() {
		t.Fatalf("still to do: %+v", plan.Changes)
	}
	set := []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "message.timestamp.type", Value: kadm.StringPtr("CreateTime")},
		{Op: kadm.SetConfig, Name: "max.message.bytes", Value: kadm.StringPtr("2000000")},
	}
	if _, err := adm.AlterTopicConfigs(t.Context(), set, name+".retry.1m"); err != nil {
		t.Fatal(err)
	}
	plan := makePlan(t, adm, s)
	c := plan.Changes[0]
	if c.Action != retrytiers.Alter || !strings.Contains(c.Message, "message.timestamp.type is CreateTime, needs LogAppendTime") ||
		!strings.Contains(c.Message, "max.message.bytes is 2000000, needs 2065536") {
		t.Errorf("a topic that was changed: %+v", c)
	}
	apply(t, adm, s)
	if plan := makePlan(t, adm, s); !plan.Done() {
		t.Errorf("still to do: %+v", plan.Changes)
	}
	// A tier that left the configuration is named.
	s.Tiers = s.Tiers[:1]
	plan = makePlan(t, adm, s)
	if last := plan.Changes[len(plan.Changes)-1]; last.Action != retrytiers.Orphan || last.Topic != name+".retry.1h" {
		t.Errorf("the tier that left: %+v", last)
	}
}

func makePlan(t *testing.T, adm *kadm.Client, s retrytiers.Spec) *retrytiers.Plan {
	t.Helper()
	plan, err := retrytiers.MakePlan(t.Context(), adm, s)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func apply(t *testing.T, adm *kadm.Client, s retrytiers.Spec) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := retrytiers.Apply(ctx, adm, makePlan(t, adm, s)); err != nil {
		t.Fatal(err)
	}
	for { // a broker may answer for a moment as it was before
		plan := makePlan(t, adm, s)
		if plan.Done() {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("applied, and still to do: %+v", plan.Changes)
		}
	}
}
