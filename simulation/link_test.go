package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestLinksBreak produces through bad weather: connections break before and after requests, and still each record arrives
// once, in order, since the producer is idempotent.
func TestLinksBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		brokers, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen), kfake.SeedTopics(1, "a"))
		if err != nil {
			t.Fatal(err)
		}
		defer brokers.Close()
		p := newPath(rand.New(rand.NewPCG(1, 1))) //nolint:gosec // the same each time
		p.setWeather(weather{delay: 20 * time.Millisecond, lost: 0.1, unanswered: 0.1, late: 0.5})
		broken := 0
		dial := func(ctx context.Context, n, address string) (net.Conn, error) {
			broken++
			return p.dial(ctx, func(ctx context.Context) (net.Conn, error) { return network.DialContext(ctx, n, address) }, nil)
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(brokers.ListenAddrs()...), kgo.Dialer(dial), kgo.DefaultProduceTopic("a"))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		for i := range 100 {
			if err := cl.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		info := brokers.PartitionInfo("a", 0)
		if info.HighWatermark != 100 {
			t.Errorf("%d records arrived, 100 were sent", info.HighWatermark)
		}
		if broken < 10 {
			t.Errorf("only %d connections were made: the weather was good", broken)
		}
	})
}
