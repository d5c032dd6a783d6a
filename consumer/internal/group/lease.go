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

// Lease says whether handlers may start (R9): a heartbeat that was sent less than the session timeout ago was answered
// without error. Its clock goes on while the machine sleeps. The client's own heartbeats don't show how they were
// answered, so these are our own.
type Lease struct {
	client  *kgo.Client
	group   string
	session time.Duration
	every   time.Duration
	renewed func()
	lapsed  func()
	holds   func(member string) bool // no lane is held under another member id
	now     func() time.Duration     // the machine's uptime, its sleep included
	kick    chan struct{}
	sending sync.WaitGroup // the heartbeat that is under way
	joined  atomic.Bool    // a heartbeat was good once

	until atomic.Int64 // uptime in nanoseconds; 0 while nothing is good

	mu      sync.Mutex
	ended   bool
	good    chan struct{} // closed and replaced at each good heartbeat, and closed at the end
	started time.Duration // when the last good heartbeat was sent
}

func newLease(cl *kgo.Client, cfg Config, cb Callbacks, holds func(string) bool) *Lease {
	return &Lease{
		client: cl, group: cfg.Group, session: cfg.SessionTimeout, every: cfg.Heartbeat,
		renewed: cb.Renewed, lapsed: cb.Lapsed, holds: holds, now: cfg.Uptime,
		kick: make(chan struct{}, 1), good: make(chan struct{}),
	}
}

// uptime counts from the machine's start, its sleep included.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return math.MaxInt64 // Linux has had this clock since 2.6.39; without it no lease is ever good
	}
	return time.Duration(ts.Nano())
}

// Good says that handlers may start.
func (l *Lease) Good() bool { return l.Left() > 0 }

// Joined says that a heartbeat was answered well at some time.
func (l *Lease) Joined() bool { return l.joined.Load() }

// Left is how much longer the lease is good; 0 or less when it is not.
func (l *Lease) Left() time.Duration { return time.Duration(l.until.Load()) - l.now() }

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

// run sends heartbeats until the context ends, and says when the lease has lapsed, whatever a heartbeat waits for.
func (l *Lease) run(ctx context.Context) {
	defer l.sending.Wait()
	beat, end := time.NewTimer(0), time.NewTimer(l.session)
	defer beat.Stop()
	defer end.Stop()
	answers := make(chan answer, 1)
	held, asking := false, false
	for {
		kick, due := l.kick, beat.C
		if asking {
			kick, due = nil, nil // it is sent after the answer
		}
		select {
		case <-ctx.Done():
			return
		case <-end.C:
		case <-due:
			asking = l.ask(ctx, answers)
		case <-kick:
			asking = l.ask(ctx, answers)
		case a := <-answers:
			asking = false
			held = l.answered(a) || held
		}
		if !asking {
			beat.Reset(l.every)
		}
		if held && !l.Good() {
			held = false
			if !l.left() { // who leaves has let its lanes go
				l.lapsed()
			}
		}
		if held {
			end.Reset(l.Left())
		} else {
			end.Stop()
		}
	}
}

// beatTries is how many heartbeats that nobody answers fit into a lease: each goes over a new connection.
const beatTries = 3

// answer is what became of a heartbeat.
type answer struct {
	member     string
	generation int32
	sent       time.Duration // uptime
	err        error
}

// ask sends one heartbeat, if we are in the group. Its answer may take longer than its time: the client has requests wait
// for older ones that wait for a connection.
func (l *Lease) ask(ctx context.Context, answers chan<- answer) bool {
	a := answer{sent: l.now()}
	if a.member, a.generation = l.client.GroupMetadata(); a.member == "" || a.generation < 0 {
		return false
	}
	l.sending.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, l.session/beatTries)
		defer cancel()
		a.err = l.send(ctx, a.member, a.generation)
		answers <- a
	})
	return true
}

// answered takes in an answer, and reports whether it renewed the lease.
func (l *Lease) answered(a answer) bool {
	if a.err != nil {
		// An answer that is about an older membership than the present one says nothing. Nor does one about an old
		// generation: who is known to the group has joined the new one, and will hear of it.
		m, n := l.client.GroupMetadata()
		if m == a.member && n == a.generation && errors.Is(fenced(a.err), ErrFenced) && !errors.Is(a.err, kerr.IllegalGeneration) {
			l.until.Store(0)
		}
		return false
	}
	if !l.holds(a.member) {
		return false
	}
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	l.started = a.sent
	l.until.Store(int64(a.sent + l.session))
	close(l.good)
	l.good = make(chan struct{})
	l.mu.Unlock()
	l.joined.Store(true)
	l.renewed()
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
