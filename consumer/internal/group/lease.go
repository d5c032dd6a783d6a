package group

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	holds   func(member string) bool // no lane is held under another member id
	now     func() int64             // boot time in nanoseconds
	kick    chan struct{}
	joined  atomic.Bool // a heartbeat was good once

	until atomic.Int64 // boot time in nanoseconds; 0 while nothing is good

	mu      sync.Mutex
	ended   bool
	good    chan struct{} // closed and replaced at each good heartbeat, and closed at the end
	started int64         // when the last good heartbeat was sent
}

func newLease(cl *kgo.Client, cfg Config, cb Callbacks, holds func(string) bool) *Lease {
	return &Lease{
		client: cl, group: cfg.Group, session: cfg.SessionTimeout, every: cfg.Heartbeat,
		renewed: cb.Renewed, lapsed: cb.Lapsed, holds: holds, now: bootTime,
		kick: make(chan struct{}, 1), good: make(chan struct{}),
	}
}

// bootTime counts from the machine's start, its sleep included.
func bootTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return math.MaxInt64 // Linux has had this clock since 2.6.39; without it no lease is ever good
	}
	return ts.Nano()
}

// Good says that handlers may start.
func (l *Lease) Good() bool { return l.now() < l.until.Load() }

// Joined says that a heartbeat was answered well at some time.
func (l *Lease) Joined() bool { return l.joined.Load() }

// Left is how much longer the lease is good; 0 or less when it is not.
func (l *Lease) Left() time.Duration { return time.Duration(l.until.Load() - l.now()) }

// errLeft is what waits for a lease get once the group is being left.
var errLeft = errors.New("the group is being left")

// Renew asks for a heartbeat and waits until one that was sent after this call was answered well.
func (l *Lease) Renew(ctx context.Context) error {
	from := l.now()
	l.soon()
	for {
		l.mu.Lock()
		started, good, ended := l.started, l.good, l.ended
		l.mu.Unlock()
		switch {
		case ended:
			return errLeft
		case started >= from && started > 0:
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

// run sends heartbeats until the context ends, and says when the lease has lapsed.
func (l *Lease) run(ctx context.Context) {
	held := false
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.kick:
		}
		over := func() {
			if held && !l.Good() {
				held = false
				if !l.left() { // who leaves has let its lanes go
					l.lapsed()
				}
			}
		}
		over()
		if l.beat(ctx) {
			held = true
		}
		over()
		next := l.every
		if held {
			next = max(min(next, l.Left()), 0)
		}
		timer.Reset(next)
	}
}

// beatTries is how many heartbeats that nobody answers fit into a lease: each goes over a new connection.
const beatTries = 3

// beat sends one heartbeat and reports whether it renewed the lease. It takes no longer than the lease is good, so that
// its end is noticed.
func (l *Lease) beat(ctx context.Context) bool {
	member, generation := l.client.GroupMetadata()
	if member == "" || generation < 0 {
		return false
	}
	bctx, cancel := context.WithTimeout(ctx, min(max(l.Left(), l.every), l.session/beatTries))
	defer cancel()
	sent := l.now()
	err := l.send(bctx, member, generation)
	if err != nil {
		// An answer that is about an older membership than the present one says nothing. Nor does one about an old
		// generation: who is known to the group has joined the new one, and will hear of it.
		if m, n := l.client.GroupMetadata(); m == member && n == generation && errors.Is(fenced(err), ErrFenced) && !errors.Is(err, kerr.IllegalGeneration) {
			l.until.Store(0)
		}
		return false
	}
	if !l.holds(member) {
		return false
	}
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	l.started = sent
	l.until.Store(sent + int64(l.session))
	close(l.good)
	l.good = make(chan struct{})
	l.mu.Unlock()
	l.joined.Store(true)
	l.renewed(Generation{Member: member, Number: generation})
	return true
}

func (l *Lease) send(ctx context.Context, member string, generation int32) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = l.group, member, generation
	resp, err := req.RequestWith(ctx, l.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

func (l *Lease) left() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// end makes the lease bad for good.
func (l *Lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	l.until.Store(0)
	close(l.good)
}

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
