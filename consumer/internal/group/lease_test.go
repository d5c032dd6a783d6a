package group

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestALeaseEndsWhileHeartbeatsAreNotAnswered asks for a heartbeat in between two, has neither answered, and ends the lease.
func TestALeaseEndsWhileHeartbeatsAreNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		brokers, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen), kfake.SeedTopics(1, "a"))
		if err != nil {
			t.Fatal(err)
		}
		defer brokers.Close()
		joined := make(chan struct{}, 1)
		client, err := kgo.NewClient(kgo.SeedBrokers(brokers.ListenAddrs()...), kgo.Dialer(network.DialContext), kgo.ConsumerGroup("g"),
			kgo.ConsumeTopics("a"), kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { joined <- struct{}{} }))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		<-joined
		began := time.Now()
		l := newLease(client, Config{Group: "g", SessionTimeout: time.Minute, Heartbeat: 10 * time.Second, Uptime: func() time.Duration { return time.Since(began) + time.Hour }},
			Callbacks{Renewed: func() {}, Lapsed: func() {}}, func(string) bool { return true })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.run(ctx)
		}()
		if err := l.Renew(ctx); err != nil {
			t.Fatal(err)
		}
		answer := make(chan struct{})
		defer close(answer)
		brokers.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
			brokers.KeepControl()
			brokers.SleepControl(func() { <-answer })
			return nil, nil, false
		})
		time.Sleep(5 * time.Second)
		l.soon()
		time.Sleep(6 * time.Second)
		cancel()
		select {
		case <-done:
		case <-time.After(time.Hour):
			t.Error("the lease does not end")
		}
	})
}
