package layby_test

import (
	"context"
	"slices"
	"testing"

	"github.com/layby-go/layby"
)

// noting returns a handler that appends its name to log.
func noting(log *[]string, name string) layby.HandlerFunc {
	return func(context.Context, *layby.Event) error {
		*log = append(*log, name)
		return nil
	}
}

// around returns middleware that appends its name to log before and after.
func around(log *[]string, name string) layby.Middleware {
	return func(next layby.Handler) layby.Handler {
		*log = append(*log, "wrap "+name)
		return layby.HandlerFunc(func(ctx context.Context, e *layby.Event) error {
			*log = append(*log, name)
			err := next.Handle(ctx, e)
			*log = append(*log, "/"+name)
			return err
		})
	}
}

func handle(t *testing.T, h layby.Handler, eventType string) error {
	t.Helper()
	return h.Handle(context.Background(), &layby.Event{Type: eventType})
}

func TestMuxPicksByType(t *testing.T) {
	var log []string
	m := layby.NewMux()
	m.On("picked", noting(&log, "old"))
	m.On("picked", noting(&log, "picked"))
	m.OnFunc("packed", noting(&log, "packed"))

	err := handle(t, m, "viewed")
	if j := layby.Judge(err); j.Verdict != layby.VerdictPermanent || j.Class != layby.ClassUnrouted {
		t.Errorf("an unknown type gives %+v, want permanent, Unrouted", j)
	}
	m.Fallback(noting(&log, "fallback"))
	for _, eventType := range []string{"picked", "packed", "viewed", ""} {
		if err := handle(t, m, eventType); err != nil {
			t.Errorf("%q: %v", eventType, err)
		}
	}
	if want := []string{"picked", "packed", "fallback", "fallback"}; !slices.Equal(log, want) {
		t.Errorf("handled by %v, want %v", log, want)
	}
}

func TestMiddlewareRunsInTheOrderGiven(t *testing.T) {
	var log []string
	m := layby.NewMux()
	m.Use(around(&log, "a"), around(&log, "b"))
	m.On("picked", noting(&log, "picked"))
	m.Use(around(&log, "c"))
	if want := []string{"wrap a", "wrap b", "wrap c"}; !slices.Equal(log, want) {
		t.Errorf("built as %v, want each once: %v", log, want)
	}
	log = nil
	if err := handle(t, m, "picked"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c", "picked", "/c", "/b", "/a"}; !slices.Equal(log, want) {
		t.Errorf("ran as %v, want %v", log, want)
	}
	log = nil
	if err := handle(t, m, "unknown"); err == nil {
		t.Error("an unknown type gives no error")
	}
	if want := []string{"a", "b", "c", "/c", "/b", "/a"}; !slices.Equal(log, want) {
		t.Errorf("around an unrouted event ran %v, want %v", log, want)
	}
}

func TestChainRunsInTheOrderGiven(t *testing.T) {
	var log []string
	h := layby.Chain(noting(&log, "h"), around(&log, "a"), around(&log, "b"))
	log = nil
	if err := handle(t, h, ""); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "h", "/b", "/a"}; !slices.Equal(log, want) {
		t.Errorf("ran as %v, want %v", log, want)
	}
}

func TestJSONDecodesOrIsPermanent(t *testing.T) {
	type order struct {
		ID string `json:"id"`
	}
	var got []order
	h := layby.JSON(func(_ context.Context, _ *layby.Event, o order) error {
		got = append(got, o)
		return nil
	})
	if err := h.Handle(context.Background(), &layby.Event{Value: []byte(`{"id":"17","more":1}`)}); err != nil {
		t.Fatal(err)
	}
	for _, value := range [][]byte{nil, {}, []byte(`{"id":`), []byte(`{"id":17}`), []byte(`{} {}`)} {
		err := h.Handle(context.Background(), &layby.Event{Value: value})
		if j := layby.Judge(err); j.Verdict != layby.VerdictPermanent || j.Class != layby.ClassDecode {
			t.Errorf("%q gives %v, %+v; want permanent, Decode", value, err, j)
		}
	}
	if want := []order{{"17"}}; !slices.Equal(got, want) {
		t.Errorf("handled %v, want %v", got, want)
	}
}

func TestHeaderIsTheFirstOfItsName(t *testing.T) {
	e := &layby.Event{Headers: []layby.Header{{Key: "a"}, {Key: "b", Value: []byte{}}, {Key: "b", Value: []byte("2")}}}
	if v, ok := e.Header("a"); !ok || v != nil {
		t.Errorf("a = %v, %v; want nil, true", v, ok)
	}
	if v, ok := e.Header("b"); !ok || v == nil || len(v) != 0 {
		t.Errorf("b = %v, %v; want empty and not nil", v, ok)
	}
	if _, ok := e.Header("B"); ok {
		t.Error("B is found; keys are exact")
	}
}
