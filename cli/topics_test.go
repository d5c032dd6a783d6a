package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

func TestTopics(t *testing.T) {
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events"), kfake.SeedTopics(5, "orders.retry.1h"))
	opts := []Option{environment{"LAYBY__KAFKA__BROKERS=" + strings.Join(brokers.ListenAddrs(), ",")}}
	file := valid + "    retry: {tiers: [10s, 1m]}\n"
	topics := func(file string, args ...string) result {
		return try(t, file, opts, append([]string{"topics"}, args...)...)
	}

	r := topics(file, "plan")
	r.expect(t, exitDone, "orders    orders.retry.10s  create  3", "")
	r.expect(t, exitDone, "orders    orders.retry.1h   orphan  5", "")
	topics(file, "plan", "--commands").expect(t, exitDone, "kafka-topics.sh --bootstrap-server \"$BROKERS\" --create --topic orders.retry.10s --partitions 3", "")
	topics(file, "apply").expect(t, exitDone, "orders    orders.retry.1m   create  3", "")
	var plans []struct {
		Consumer string
		Topics   []struct{ Topic, Action, Retention string }
	}
	if err := json.Unmarshal([]byte(topics(file, "plan", "-o", "json").stdout), &plans); err != nil {
		t.Fatal(err)
	}
	for _, c := range plans[0].Topics[:2] {
		if c.Action != "ok" || c.Retention != "168h0m0s" {
			t.Errorf("after apply: %+v", c)
		}
	}
	if again := topics(file, "apply"); again.code != exitDone {
		t.Errorf("a second apply: %+v", again)
	}
	// A topic with more partitions than the source is somebody else's: nothing is changed.
	wrong := strings.Replace(file, "10s, 1m", "10s, 1h", 1)
	topics(wrong, "plan").expect(t, exitConflict, "orders.retry.1h   wrong   3", "it has 5 partitions, more than the 3 of the source topics")
	topics(wrong, "apply").expect(t, exitConflict, "", "it has 5 partitions, more than the 3 of the source topics")
	topics(strings.Replace(file, "order-events", "nothing", 1), "plan").
		expect(t, exitFailed, "", "layby: consumer orders: source topic nothing does not exist")
}
