package integration

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestG3CommitsReachTheEndBehindTransactions has a transactional producer commit events and abort others. The markers that
// end its transactions take offsets: the commits pass them, so that there is no lag that nothing can take away, and what
// was aborted does not run.
func TestG3CommitsReachTheEndBehindTransactions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	orders := names("order", 6)
	cl := w.kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(w.group))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var aborted []*event
	for round := range 4 {
		end := kgo.TransactionEndTry(round%2 == 0) // a log ends with what was aborted
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		var list []*event
		var recs []*kgo.Record
		for _, r := range orders {
			e := w.event(r)
			list, recs = append(list, e), append(recs, e.record)
		}
		if err := cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
		if end == kgo.TryCommit {
			w.mu.Lock()
			w.events = append(w.events, list...)
			w.mu.Unlock()
		} else {
			aborted = append(aborted, list...)
		}
	}
	w.service.fails("order-1", 0, 1, retriable)
	m := w.start()
	w.rest(30 * time.Second)
	w.allCommitted(20 * time.Second)
	m.stop()
	at := map[string]bool{}
	for _, e := range aborted {
		at[e.position()] = true
	}
	if n := w.service.count(func(c *call) bool { return at[c.position] }); n != 0 {
		t.Errorf("%d aborted events ran", n)
	}
	w.check(except{})
}
