package evidence_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/consumer/evidence"
	"github.com/layby-go/layby/verify"
)

// TestARecorderWritesWhatHandlersDo has a handler end in every way that there is.
func TestARecorderWritesWhatHandlersDo(t *testing.T) {
	var out bytes.Buffer
	r := evidence.NewRecorder(&out, "m", time.Minute)
	failed := errors.New("failed")
	cancelled, cancel := context.WithCancel(t.Context())
	late, stop := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer stop()
	call := func(ctx context.Context, offset int64, f layby.HandlerFunc) error {
		e := &layby.Event{Topic: "orders", Partition: 3, Offset: offset, Attempt: 2, Token: 7, Value: []byte("x")}
		return r.Record(f).Handle(ctx, e)
	}
	for offset, c := range []struct {
		ctx     context.Context //nolint:containedctx // of a table
		f       layby.HandlerFunc
		err     error
		outcome verify.Outcome
	}{
		{t.Context(), func(context.Context, *layby.Event) error { return nil }, nil, verify.OutcomeSucceeded},
		{t.Context(), func(context.Context, *layby.Event) error { return failed }, failed, verify.OutcomeFailed},
		{t.Context(), func(context.Context, *layby.Event) error { return layby.Unavailable("catalogue", failed) }, failed, verify.OutcomeUnavailable},
		{cancelled, func(ctx context.Context, _ *layby.Event) error { cancel(); return ctx.Err() }, context.Canceled, verify.OutcomeCancelled},
		{late, func(ctx context.Context, _ *layby.Event) error { return ctx.Err() }, context.DeadlineExceeded, verify.OutcomeFailed},
		{late, func(ctx context.Context, _ *layby.Event) error { return layby.Unavailable("db", ctx.Err()) }, context.DeadlineExceeded, verify.OutcomeFailed},
		{t.Context(), func(context.Context, *layby.Event) error { return gobreaker.ErrOpenState }, gobreaker.ErrOpenState, verify.OutcomeUnavailable},
	} {
		if err := call(c.ctx, int64(offset), c.f); !errors.Is(err, c.err) {
			t.Errorf("call %d returned %v, wanted %v", offset, err, c.err)
		}
		log := read(t, &out)
		end := log[len(log)-1]
		if end.Kind != verify.KindEnded || end.Outcome != c.outcome {
			t.Errorf("call %d ended as %+v, wanted %s", offset, end, c.outcome)
		}
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not come through")
			}
		}()
		_ = call(t.Context(), 9, func(context.Context, *layby.Event) error { panic("x") })
	}()
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	log := slices.DeleteFunc(read(t, &out), func(e verify.Entry) bool { return e.Kind == verify.KindCancelled })
	first, start, end, last := log[0], log[1], log[len(log)-2], log[len(log)-1]
	if first.Kind != verify.KindJoined || first.Member != "m" || last.Kind != verify.KindStopped || last.Member != "m" {
		t.Errorf("the log begins with %+v and ends with %+v", first, last)
	}
	sum := evidence.Sum(&layby.Event{Value: []byte("x")})
	want := verify.Entry{Kind: verify.KindStarted, At: start.At, Topic: "orders", Partition: 3, Sum: sum, Member: "m", Call: "m/1", Attempt: 2, Token: 7}
	if start != want {
		t.Errorf("a start is %+v, wanted %+v", start, want)
	}
	if end.Outcome != verify.OutcomeFailed || end.Call != "m/8" {
		t.Errorf("the panic is %+v", end)
	}
}

// read reads what a recorder wrote, and leaves it there.
func read(t *testing.T, out *bytes.Buffer) []verify.Entry {
	t.Helper()
	log, err := verify.Read(bytes.NewReader(bytes.Clone(out.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// TestACallThatIsToldToStopIsWrittenDown has the context end while the handler runs on.
func TestACallThatIsToldToStopIsWrittenDown(t *testing.T) {
	lines := make(chan string, 10)
	r := evidence.NewRecorder(writer(func(b []byte) (int, error) { lines <- string(b); return len(b), nil }), "m", time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	err := r.Record(layby.HandlerFunc(func(context.Context, *layby.Event) error {
		<-lines // joined
		<-lines // started
		cancel()
		if told := <-lines; !strings.Contains(told, `"kind":"cancelled"`) || !strings.Contains(told, `"call":"m/1"`) {
			t.Errorf("it wrote %s", told)
		}
		return nil
	})).Handle(ctx, &layby.Event{Topic: "orders"})
	if err != nil {
		t.Error(err)
	}
}

// TestAStuckHandlerHasNotSucceeded has one return nil when the consumer has given it up.
func TestAStuckHandlerHasNotSucceeded(t *testing.T) {
	for grace, want := range map[time.Duration]verify.Outcome{0: verify.OutcomeFailed, time.Minute: verify.OutcomeSucceeded} {
		var out bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		deaf := layby.HandlerFunc(func(context.Context, *layby.Event) error { cancel(); return nil })
		if err := evidence.NewRecorder(&out, "m", grace).Record(deaf).Handle(ctx, &layby.Event{Topic: "orders"}); err != nil {
			t.Error(err)
		}
		if log := read(t, &out); log[len(log)-1].Outcome != want {
			t.Errorf("with a grace of %v it ended as %s, wanted %s", grace, log[len(log)-1].Outcome, want)
		}
	}
}

// TestALogThatCannotBeWrittenFailsNoEvent has the disk be full.
func TestALogThatCannotBeWrittenFailsNoEvent(t *testing.T) {
	full := errors.New("no space left")
	r := evidence.NewRecorder(writer(func([]byte) (int, error) { return 0, full }), "m", time.Minute)
	ok := layby.HandlerFunc(func(context.Context, *layby.Event) error { return nil })
	if err := r.Record(ok).Handle(t.Context(), &layby.Event{}); err != nil {
		t.Error(err)
	}
	if err := r.Stop(); !errors.Is(err, full) {
		t.Errorf("the recorder stopped with %v", err)
	}
}

type writer func(b []byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// TestASumTellsBytesApart has the sum differ for whatever must stay as it is.
func TestASumTellsBytesApart(t *testing.T) {
	seen := map[string]int{}
	for i, e := range []layby.Event{
		{},
		{Key: []byte{}},
		{Value: []byte{}},
		{Value: []byte("x")},
		{Key: []byte("x")},
		{Headers: []layby.Header{{Key: "x"}}},
		{Headers: []layby.Header{{Key: "x", Value: []byte{}}}},
		{Headers: []layby.Header{{Key: "x"}, {Key: "x"}}},
		{Headers: []layby.Header{{Key: "x"}, {Key: "y"}}},
		{Headers: []layby.Header{{Key: "y"}, {Key: "x"}}},
		{Timestamp: time.UnixMilli(1)},
	} {
		sum := evidence.Sum(&e)
		if j, there := seen[sum]; there {
			t.Errorf("events %d and %d have one sum", i, j)
		}
		seen[sum] = i
	}
	at := layby.Event{Topic: "a", Offset: 1, Attempt: 1, Timestamp: time.UnixMilli(5)}
	again := layby.Event{Topic: "a", Offset: 1, Attempt: 2, Timestamp: time.UnixMilli(5).UTC()}
	if evidence.Sum(&at) != evidence.Sum(&again) {
		t.Error("an attempt changes the sum")
	}
}
