package layby_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/layby-go/layby"
)

type order struct {
	ID     string `json:"id"`
	Street string `json:"street"`
	Lines  int    `json:"lines"`
}

// A handler is a function; its error is its verdict.
func ExampleHandlerFunc() {
	picked := layby.HandlerFunc(func(_ context.Context, e *layby.Event) error {
		if len(e.Value) == 0 {
			return layby.Permanent(errors.New("an empty order"))
		}
		return nil
	})

	err := picked.Handle(context.Background(), &layby.Event{Type: "order.picked", Resource: "order-17"})
	fmt.Println(err, errors.Is(err, layby.ErrPermanent))
	// Output: an empty order true
}

// JSON decodes the value first. What can't be decoded is permanent.
func ExampleJSON() {
	h := layby.JSON(func(_ context.Context, e *layby.Event, o order) error {
		if o.Street == "" {
			return layby.NeedsCorrection(errors.New("no street"), map[string]string{"missing": "street"})
		}
		return nil
	})

	for _, value := range []string{`{"id":"17","street":"Elm"}`, `{"id":"18"}`, `{"id":`} {
		verdict := layby.Judge(h.Handle(context.Background(), &layby.Event{Value: []byte(value)}))
		fmt.Printf("%v %q %q\n", verdict.Verdict, verdict.Class, verdict.Details)
	}
	// Output:
	// success "" ""
	// needs-correction "Error" "{\"missing\":\"street\"}"
	// permanent "Decode" ""
}

// The first middleware is the outermost.
func ExampleMux_Use() {
	step := func(name string) layby.Middleware {
		return func(next layby.Handler) layby.Handler {
			return layby.HandlerFunc(func(ctx context.Context, e *layby.Event) error {
				fmt.Println(name, "before")
				defer fmt.Println(name, "after")
				return next.Handle(ctx, e)
			})
		}
	}
	m := layby.NewMux()
	m.Use(step("log"), step("transaction"))
	m.OnFunc("order.picked", func(_ context.Context, e *layby.Event) error {
		fmt.Println("picked", e.Resource)
		return nil
	})

	_ = m.Handle(context.Background(), &layby.Event{Type: "order.picked", Resource: "order-17"})
	// Output:
	// log before
	// transaction before
	// picked order-17
	// transaction after
	// log after
}

// Judge says what Layby makes of an error.
func ExampleJudge() {
	busy := fmt.Errorf("reserve stock: %w", layby.Retriable(errors.New("warehouse is busy"), time.Minute))
	j := layby.Judge(layby.Class(busy, "WarehouseBusy"))
	fmt.Println(j.Verdict, j.Class, j.After, j.Err)

	away := layby.Judge(layby.Unavailable("warehouse"))
	fmt.Println(away.Verdict, away.Dependency)
	// Output:
	// retriable WarehouseBusy 1m0s reserve stock: warehouse is busy
	// unavailable warehouse
}
