package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby"
)

// valve holds up whoever waits while it is closed.
type valve struct {
	mu      sync.Mutex
	through chan struct{}
}

func (v *valve) shut() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.through = make(chan struct{})
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.through != nil {
		close(v.through)
		v.through = nil
	}
}

func (v *valve) wait() {
	v.mu.Lock()
	through := v.through
	v.mu.Unlock()
	if through != nil {
		<-through
	}
}

// TestWhatAConsumerWaitsForIsSeen has the coordinator answer no heartbeat for a while: first before the consumer has joined,
// then for longer than its session.
func TestWhatAConsumerWaitsForIsSeen(t *testing.T) {
	r := newRig(t, "1h", succeed)
	silent := &valve{}
	silent.shut()
	r.brokers.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.brokers.KeepControl()
		r.brokers.SleepControl(silent.wait)
		return nil, nil, false
	})
	t.Cleanup(silent.open)
	waits := func(text string) {
		t.Helper()
		r.eventually("it waits: "+text, func() (bool, string) {
			saw := r.c.Waits()
			return strings.Contains(saw, text) && (saw == "") == (text == ""), saw
		})
	}
	waits("it is starting")
	r.run()
	waits("it has not joined its group yet")
	silent.open()
	waits("")
	r.states(Running, "")
	if !r.c.Joined() || len(r.c.Notices()) != 0 {
		t.Errorf("joined %v, notices %v", r.c.Joined(), r.c.Notices())
	}
	silent.shut()
	waits("no heartbeat was answered for the session timeout of 2s")
	r.states(Paused, "lease")
	r.exposed("layby_partition_state consumer=orders partition=0 state=paused 1")
	r.exposed("layby_partition_paused consumer=orders partition=0 reason=lease 1")
	silent.open()
	waits("")
	r.states(Running, "")
	r.exposed("layby_partition_state consumer=orders partition=1 state=running 1")
}

// TestAPartitionThatDoesNotAnswerIsSeen holds a lane's goroutine up.
func TestAPartitionThatDoesNotAnswerIsSeen(t *testing.T) {
	r := newRig(t, "1h", succeed)
	r.run()
	r.states(Running, "")
	held, release := make(chan struct{}), make(chan struct{})
	r.c.lane(0).box.put(func(d *delivery) { d.calls = append(d.calls, func() { close(held); <-release }) })
	<-held
	r.c.count(t.Context())
	var first time.Duration
	r.eventually("one partition does not answer", func() (bool, string) {
		n, since := r.c.Silent()
		first = since
		return n == 1 && since > 0, fmt.Sprint(n, since)
	})
	r.c.count(t.Context())
	r.eventually("asked again, it is the one that has not answered the first time", func() (bool, string) {
		n, since := r.c.Silent()
		return n == 1 && since > first, fmt.Sprint(n, since)
	})
	close(release)
	r.eventually("all answer", func() (bool, string) {
		n, since := r.c.Silent()
		return n == 0 && since == 0, fmt.Sprint(n, since)
	})
}

// TestARetryIsDueByPostgressClock has a machine whose clock is an hour ahead park an event while Postgres's clock can't be
// asked for but at the takeover: it is due when Postgres's clock says so.
func TestARetryIsDueByPostgressClock(t *testing.T) {
	r := newRig(t, "1h", func(context.Context, *layby.Event) error { return errors.New("not now") })
	r.c.clock.machine = func() time.Time { return time.Now().Add(time.Hour) }
	r.c.clock.ask = func(context.Context) (time.Time, error) { return time.Time{}, errors.New("not asked") }
	r.produce("order-1")
	r.run()
	var away float64
	r.eventually("the event is parked", func() (bool, string) {
		err := r.pool.QueryRow(t.Context(), "select extract(epoch from due - clock_timestamp()) from "+r.schema+".parked_events order by seq limit 1").Scan(&away)
		return err == nil, fmt.Sprint(err)
	})
	if left := time.Duration(away) * time.Second; left > time.Hour || left < 55*time.Minute {
		t.Errorf("an event that waits an hour is due in %v by Postgres's clock", left)
	}
}

// TestGrowthIsNotedWhileTheConsumerRuns gives the source topic more partitions while an event waits, as somebody does who
// does not know better.
func TestGrowthIsNotedWhileTheConsumerRuns(t *testing.T) {
	r := newRig(t, "1h", func(_ context.Context, e *layby.Event) error {
		if e.Resource == "order-1" {
			return errors.New("not now")
		}
		return nil
	})
	r.run()
	r.states(Running, "")
	r.exposed("layby_source_growth_partitions consumer=orders topic=order-events 0")
	r.produce("order-1")
	r.eventually("the event is parked", func() (bool, string) {
		var n int
		err := r.pool.QueryRow(t.Context(), "select count(*) from "+r.schema+".parked_events").Scan(&n)
		return n == 1, fmt.Sprint(n, err)
	})
	r.c.findGrown(t.Context())
	if n := r.c.Notices(); len(n) != 0 {
		t.Errorf("notices of a topic that did not grow: %v", n)
	}
	r.grow(3, "order-events")
	r.eventually("it is noted, with what is in the way", func() (bool, string) {
		r.c.findGrown(t.Context())
		n := fmt.Sprint(r.c.Notices())
		return strings.Contains(n, "the topic order-events has 3 partitions, the consumer works under 2: the retry topic orders.retry.1h has 2 "+
			"partitions, but order-events has 3: type `layby topics apply`"), n
	})
	r.exposed("layby_source_growth_partitions consumer=orders topic=order-events 1")
	r.exposed("layby_partition_paused consumer=orders partition=0 reason=growth 1")
	if n := strings.Count(r.log.String(), `level=WARN msg="a source topic has another number of partitions`); n != 1 {
		t.Errorf("%d warnings", n)
	}
	r.grow(3, "orders.retry.1h")
	r.eventually("the consumer works under the new number, in the partition that is new too", func() (bool, string) {
		r.c.findGrown(t.Context())
		all := r.c.Statuses()
		running := !slices.ContainsFunc(all, func(s Status) bool { return s.State != Running })
		return len(r.c.Notices()) == 0 && len(all) == 3 && running, fmt.Sprint(r.c.Notices(), all)
	})
	r.exposed("layby_source_growth_partitions consumer=orders topic=order-events 0")
}

func (r *rig) grow(to int, topics ...string) {
	r.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers.ListenAddrs()...))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	done, err := kadm.NewClient(client).UpdatePartitions(r.t.Context(), to, topics...)
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}
