package memory

import (
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
)

// Database holds what a schema holds. It is safe for concurrent use.
type Database struct {
	now func() time.Time

	mu        sync.Mutex
	data      *data
	watch     func(Change)
	listeners map[chan string]struct{}
}

// New returns an empty database whose clock is now; time.Now if it is nil.
func New(now func() time.Time) *Database {
	if now == nil {
		now = time.Now
	}
	return &Database{now: now, data: newData(), listeners: map[chan string]struct{}{}}
}

// Watch has f called for each change of an event's state, in the order of the commits. f must not use the database.
func (d *Database) Watch(f func(Change)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = f
}

// Became says what an event has become.
type Became string

// What events become.
const (
	Parked   Became = "parked"   // durably recorded: parked, held or dead
	Recorded Became = "recorded" // the success of a parked event
	Passed   Became = "passed"   // later events need not wait for it any more
	Executed Became = "executed" // a command about it had an effect
	// Amended: a person changed its bytes.
	Amended Became = "amended"
	Hurried Became = "hurried" // a person has it tried again at once
	// Submitted: it is a person's own, in no topic.
	Submitted Became = "submitted"
	Rewound   Became = "rewound" // it, and all behind it in its topic, is to be read again
	Lost      Became = "lost"    // its resource is listed as one of which commits were lost, the partition itself under an empty name
)

// Change is one change of an event's state.
type Change struct {
	Became    Became
	Consumer  string
	Topic     string
	TopicID   ordering.TopicID
	Partition int32
	Offset    int64
	Command   int64        // that brought it about, 0 for none
	Resource  string       // of Lost
	Event     *layby.Event // of Amended: its bytes from now on
}

// Snapshot is all data at one moment.
type Snapshot struct{ data *data }

// Snapshot copies the data.
func (d *Database) Snapshot() *Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Snapshot{d.data.clone()}
}

// Restore puts data back as it was: what was committed since is lost, as after a failover to a standby that lagged.
func (d *Database) Restore(s *Snapshot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.data = s.data.clone()
}

// timestamp is a time as a column keeps it.
func timestamp(t time.Time) time.Time { return t.Truncate(time.Microsecond).Round(0) }

// transact runs f as a transaction: when it fails, nothing of it happened.
func (d *Database) transact(f func(t *transaction) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := &transaction{data: d.data, now: timestamp(d.now())}
	if err := f(t); err != nil {
		t.rollback()
		return err
	}
	if d.watch != nil {
		for _, c := range t.changes {
			d.watch(c)
		}
	}
	for _, text := range t.announcements {
		for l := range d.listeners {
			select {
			case l <- text:
			default: // who listens looks from time to time as well
			}
		}
	}
	return nil
}

// transaction is one under way. Its changes are undone one by one when it fails.
type transaction struct {
	*data
	now           time.Time
	undo          []func()
	changes       []Change
	announcements []string
}

func (t *transaction) rollback() {
	for i := len(t.undo) - 1; i >= 0; i-- {
		t.undo[i]()
	}
}

// put changes a row of a table.
func put[K comparable, V any](t *transaction, table map[K]V, key K, value V) {
	old, there := table[key]
	t.undo = append(t.undo, func() {
		if there {
			table[key] = old
		} else {
			delete(table, key)
		}
	})
	table[key] = value
}

// remove removes a row of a table, if it is there.
func remove[K comparable, V any](t *transaction, table map[K]V, key K) (V, bool) {
	old, there := table[key]
	if there {
		t.undo = append(t.undo, func() { table[key] = old })
		delete(table, key)
	}
	return old, there
}

// failure is an answer of Postgres.
func failure(code, message, detail string) error {
	return &pgconn.PgError{Severity: "ERROR", Code: code, Message: message, Detail: detail}
}

// place is the lane of a row.
type place = parking.Place
