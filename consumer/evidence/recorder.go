package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/verify"
)

// Recorder writes the log of one member: the starts and ends of its handlers. It is safe for concurrent use.
type Recorder struct {
	member string
	grace  time.Duration

	mu    sync.Mutex
	out   io.Writer
	calls int
	err   error
}

// NewRecorder begins a log. Member names the process; no other of the run may have the same name. StuckGrace is that of the
// consumer: it has given up a handler that returns later than that after its context has ended. Each line is one write.
func NewRecorder(out io.Writer, member string, stuckGrace time.Duration) *Recorder {
	r := &Recorder{member: member, grace: stuckGrace, out: out}
	r.write(verify.Entry{Kind: verify.KindJoined})
	return r
}

// Stop ends the log: all calls have ended, and whatever the member had was let go in order. A log that ends without counts as
// that of a process that crashed. The error is the first that a write had; what came after it is missing.
func (r *Recorder) Stop() error {
	r.write(verify.Entry{Kind: verify.KindStopped})
	return r.Err()
}

// Interrupted notes that the member is not sure any more whether its partitions are its own, or is again. In between, a
// success may be forgotten as in a crash.
func (r *Recorder) Interrupted(now bool) {
	if now {
		r.write(verify.Entry{Kind: verify.KindCut})
	} else {
		r.write(verify.Entry{Kind: verify.KindReached})
	}
}

// Err is the first error that a write had.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Record is a [layby.Middleware] that writes down the calls of a handler. Put it outermost. A log that can't be written is no
// failure of the event.
func (r *Recorder) Record(next layby.Handler) layby.Handler {
	return layby.HandlerFunc(func(ctx context.Context, e *layby.Event) (err error) {
		if e.Offset < 0 {
			return next.Handle(ctx, e) // a person submitted it: Kafka does not know of it
		}
		call := r.write(verify.Entry{
			Kind: verify.KindStarted, Topic: e.Topic, Partition: e.Partition, Offset: e.Offset,
			Attempt: e.Attempt, Token: e.Token, Sum: Sum(e),
		})
		told := make(chan time.Time, 1)
		unwatch := context.AfterFunc(ctx, func() {
			now := time.Now()
			r.write(verify.Entry{Kind: verify.KindCancelled, Call: call})
			told <- now
		})
		outcome := outcomeOf(ctx, errPanic) // unless it returns
		defer func() {
			if !unwatch() && time.Since(<-told) >= r.grace {
				outcome = verify.OutcomeFailed // it counts as stuck
			}
			r.write(verify.Entry{Kind: verify.KindEnded, Call: call, Outcome: outcome})
		}()
		err = next.Handle(ctx, e)
		outcome = outcomeOf(ctx, err)
		return err
	})
}

var errPanic = errors.New("panic")

// outcomeOf is what an error means for the event, as the consumer judges it.
func outcomeOf(ctx context.Context, err error) verify.Outcome {
	late := errors.Is(ctx.Err(), context.DeadlineExceeded) // which is the handler's own fault
	switch {
	case err == nil:
		return verify.OutcomeSucceeded
	case ctx.Err() != nil && !late:
		return verify.OutcomeCancelled
	case late && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		return verify.OutcomeFailed
	case layby.Judge(err).Verdict == layby.VerdictUnavailable, errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
		return verify.OutcomeUnavailable
	}
	return verify.OutcomeFailed
}

// write writes a line at the time of now, and returns the name of its call. The order of the lines is that of the events.
func (r *Recorder) write(e verify.Entry) (call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Now()
	if e.Kind == verify.KindStarted {
		r.calls++
		e.Call = r.member + "/" + strconv.Itoa(r.calls)
	}
	if e.Call == "" || e.Kind == verify.KindStarted {
		e.Member = r.member
	}
	line, err := json.Marshal(&e)
	if err == nil && r.err == nil {
		_, err = r.out.Write(append(line, '\n'))
	}
	if r.err == nil {
		r.err = err
	}
	return e.Call
}

// Sum is a digest of what must stay the same of an event: its key, value, headers and timestamp.
func Sum(e *layby.Event) string {
	h := sha256.New()
	field := func(b []byte) {
		size := int64(len(b))
		if b == nil {
			size = -1
		}
		h.Write(binary.AppendVarint(nil, size))
		h.Write(b)
	}
	field(e.Key)
	field(e.Value)
	for _, header := range e.Headers {
		field([]byte(header.Key))
		field(header.Value)
	}
	h.Write(binary.AppendVarint(nil, e.Timestamp.UnixMilli()))
	return hex.EncodeToString(h.Sum(nil)[:8])
}
