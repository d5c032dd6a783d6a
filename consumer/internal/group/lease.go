package group

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// Generation is a membership: what a good heartbeat was answered under.
type Generation struct {
	Member string
	Number int32
}

// Lease says whether handlers may start (R9): a heartbeat that was sent less than the session timeout ago was answered
// without error. Its clock goes on while the machine sleeps. The client's own heartbeats don't show how they were
// answered, so these are our own.
type Lease struct {
	client  *kgo.Client
	group   string
	session time.Duration
	every   time.Duration
	renewed func(Generation)
	lapsed  func()
	kick    chan struct{}

	until atomic.Int64 // boot time in nanoseconds; 0 before the first good heartbeat

	mu      sync.Mutex
	good    chan struct{} // closed and replaced at each good heartbeat
	started int64         // when the last good heartbeat was sent
}

func newLease(cl *kgo.Client, cfg Config, cb Callbacks) *Lease {
	return &Lease{
		client: cl, group: cfg.Group, session: cfg.SessionTimeout, every: cfg.Heartbeat,
		renewed: cb.Renewed, lapsed: cb.Lapsed, kick: make(chan struct{}, 1), good: make(chan struct{}),
	}
}

// bootTime counts from the machine's start, its sleep included.
func bootTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // Linux has had this clock since 2.6.39; without it no lease is ever good
	}
	return ts.Nano()
}

// Good says that handlers may start.
func (l *Lease) Good() bool { return bootTime() < l.until.Load() }

// Renew asks for a heartbeat and waits until one that was sent after this call was answered well.
func (l *Lease) Renew(ctx context.Context) error {
	from := bootTime()
	l.soon()
	for {
		l.mu.Lock()
		started, good := l.started, l.good
		l.mu.Unlock()
		if started >= from {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-good:
		}
	}
}

// soon has the next heartbeat sent at once.
func (l *Lease) soon() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// run sends heartbeats until the context ends.
func (l *Lease) run(ctx context.Context) {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	held := false
	for {
		if l.beat(ctx) {
			held = true
		} else if held && !l.Good() {
			held = false
			l.lapsed()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.kick:
		}
	}
}

// beat sends one heartbeat and reports whether it renewed the lease.
func (l *Lease) beat(ctx context.Context) bool {
	member, generation := l.client.GroupMetadata()
	if member == "" || generation < 0 {
		return false
	}
	left := time.Duration(max(l.until.Load()-bootTime(), int64(l.every)))
	bctx, cancel := context.WithTimeout(ctx, min(left, l.session))
	defer cancel()
	sent := bootTime()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = l.group, member, generation
	resp, err := req.RequestWith(bctx, l.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return false
	}
	l.until.Store(sent + int64(l.session))
	l.mu.Lock()
	l.started = sent
	close(l.good)
	l.good = make(chan struct{})
	l.mu.Unlock()
	l.renewed(Generation{Member: member, Number: generation})
	return true
}

// end makes the lease bad for good.
func (l *Lease) end() { l.until.Store(0) }

// ErrFenced says that the group no longer takes us for the owner.
var ErrFenced = errors.New("the group no longer takes this member for the owner")

// fenced wraps errors that say that our membership is over.
func fenced(err error) error {
	for _, e := range []error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.FencedMemberEpoch, kerr.StaleMemberEpoch} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrFenced, err)
		}
	}
	return err
}
