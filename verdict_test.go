package layby_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/layby-go/layby"
)

type outOfStock struct{ sku string }

func (e *outOfStock) Error() string { return "out of stock: " + e.sku }

type valueError int

func (e valueError) Error() string { return "value" }

var errPlain = errors.New("plain")

func TestJudgeFindsTheVerdict(t *testing.T) {
	for _, c := range []struct {
		name    string
		err     error
		verdict layby.Verdict
		class   string
	}{
		{"nil", nil, layby.VerdictSuccess, ""},
		{"a plain error", errPlain, layby.VerdictRetriable, "Error"},
		{"fmt.Errorf", fmt.Errorf("a: %w", errPlain), layby.VerdictRetriable, "Error"},
		{"a pointer type", &outOfStock{"1"}, layby.VerdictRetriable, "outOfStock"},
		{"a value type", valueError(1), layby.VerdictRetriable, "valueError"},
		{"the innermost type", fmt.Errorf("a: %w", &fs.PathError{Err: &outOfStock{"1"}}), layby.VerdictRetriable, "outOfStock"},
		{"a deadline", fmt.Errorf("call: %w", context.DeadlineExceeded), layby.VerdictRetriable, "Timeout"},
		{"retriable", layby.Retriable(errPlain), layby.VerdictRetriable, "Error"},
		{"permanent", layby.Permanent(&outOfStock{"1"}), layby.VerdictPermanent, "outOfStock"},
		{"needs correction", layby.NeedsCorrection(errPlain, nil), layby.VerdictNeedsCorrection, "Error"},
		{"unavailable", layby.Unavailable("stock"), layby.VerdictUnavailable, "Unavailable"},
		{"unavailable by a cause", layby.Unavailable("stock", &outOfStock{"1"}), layby.VerdictUnavailable, "outOfStock"},
		{"wrapped", fmt.Errorf("pick: %w", layby.Permanent(errPlain)), layby.VerdictPermanent, "Error"},
		{"the outermost counts", layby.Permanent(fmt.Errorf("a: %w", layby.Retriable(errPlain))), layby.VerdictPermanent, "Error"},
		{"and the other way round", layby.Retriable(layby.Permanent(errPlain)), layby.VerdictRetriable, "Error"},
		{"joined", errors.Join(errPlain, layby.Permanent(errPlain)), layby.VerdictPermanent, "Error"},
		{"a sentinel", layby.ErrPermanent, layby.VerdictPermanent, "Error"},
		{"a wrapped sentinel", fmt.Errorf("%w: no such product", layby.ErrNeedsCorrection), layby.VerdictNeedsCorrection, "Error"},
		{"a class implies retriable", layby.Class(errPlain, "Odd"), layby.VerdictRetriable, "Odd"},
		{"a class keeps the verdict", layby.Class(fmt.Errorf("a: %w", layby.Permanent(errPlain)), "Odd"), layby.VerdictPermanent, "Odd"},
		{"a class survives wrapping", layby.Permanent(layby.Class(errPlain, "Odd")), layby.VerdictPermanent, "Odd"},
		{"the outermost class counts", layby.Class(layby.Class(errPlain, "In"), "Out"), layby.VerdictRetriable, "Out"},
		{"an Error without a verdict", &layby.Error{Class: "Odd", Err: layby.Permanent(errPlain)}, layby.VerdictPermanent, "Odd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := layby.Judge(c.err)
			if j.Verdict != c.verdict || j.Class != c.class {
				t.Errorf("Judge(%v) = %v, class %q; want %v, class %q", c.err, j.Verdict, j.Class, c.verdict, c.class)
			}
			if j.Err != c.err { //nolint:errorlint // the very same
				t.Errorf("Err = %v, want the error itself", j.Err)
			}
		})
	}
}

func TestJudgeKeepsWhatCameWithTheVerdict(t *testing.T) {
	j := layby.Judge(fmt.Errorf("a: %w", layby.Retriable(errPlain, time.Minute)))
	if j.After != time.Minute {
		t.Errorf("After = %v, want 1m", j.After)
	}
	if j := layby.Judge(layby.Permanent(layby.Retriable(errPlain, time.Minute))); j.After != 0 {
		t.Errorf("After of an inner verdict = %v, want 0", j.After)
	}
	if j := layby.Judge(layby.Retriable(errPlain, -time.Minute)); j.After != 0 {
		t.Errorf("a negative wait = %v, want 0", j.After)
	}
	j = layby.Judge(layby.NeedsCorrection(errPlain, map[string]int{"missing": 2}))
	if string(j.Details) != `{"missing":2}` {
		t.Errorf("Details = %s", j.Details)
	}
	if j := layby.Judge(layby.NeedsCorrection(errPlain, func() {})); !json.Valid(j.Details) {
		t.Errorf("Details of what can't be encoded = %s, want valid JSON", j.Details)
	}
	if j := layby.Judge(layby.Class(layby.Unavailable("stock"), "Down")); j.Dependency != "stock" {
		t.Errorf("Dependency = %q, want stock", j.Dependency)
	}
	j = layby.Judge(layby.Permanent(layby.AfterDeath(errPlain, layby.Advance)))
	if j.AfterDeath != layby.Advance || j.Verdict != layby.VerdictPermanent {
		t.Errorf("AfterDeath = %v, %v; want Advance, permanent", j.AfterDeath, j.Verdict)
	}
	j = layby.Judge(layby.AfterDeath(layby.Class(layby.Permanent(errPlain), "Odd"), layby.Hold))
	if j.AfterDeath != layby.Hold || j.Class != "Odd" || j.Verdict != layby.VerdictPermanent {
		t.Errorf("AfterDeath changed the rest: %+v", j)
	}
}

func TestErrorsIsAndAs(t *testing.T) {
	sentinels := []error{layby.ErrRetriable, layby.ErrPermanent, layby.ErrNeedsCorrection, layby.ErrUnavailable}
	for i, err := range []error{
		layby.Retriable(errPlain), layby.Permanent(errPlain), layby.NeedsCorrection(errPlain, 1), layby.Unavailable("x", errPlain),
	} {
		for k, sentinel := range sentinels {
			if got := errors.Is(fmt.Errorf("wrapped: %w", err), sentinel); got != (i == k) {
				t.Errorf("errors.Is(%v, %v) = %v", err, sentinel, got)
			}
		}
		if !errors.Is(err, errPlain) {
			t.Errorf("%v hides its cause", err)
		}
		var e *layby.Error
		if !errors.As(err, &e) || int(e.Verdict) != i+1 {
			t.Errorf("errors.As(%v) = %+v", err, e)
		}
	}
}

func TestANilErrorStaysNil(t *testing.T) {
	for name, err := range map[string]error{
		"Retriable": layby.Retriable(nil), "Permanent": layby.Permanent(nil), "NeedsCorrection": layby.NeedsCorrection(nil, 1),
		"Class": layby.Class(nil, "x"), "AfterDeath": layby.AfterDeath(nil, layby.Hold),
	} {
		if err != nil {
			t.Errorf("%s(nil) = %v, want nil", name, err)
		}
	}
}

func TestTextSaysWhatWentWrong(t *testing.T) {
	for want, err := range map[string]error{
		"plain":                       layby.Permanent(layby.Retriable(errPlain)),
		"stock is unavailable":        layby.Unavailable("stock"),
		"stock is unavailable: plain": layby.Class(layby.Unavailable("stock", errPlain), "Down"),
		"permanent":                   layby.ErrPermanent,
		"needs-correction: no street": fmt.Errorf("%w: no street", layby.ErrNeedsCorrection),
		"retriable":                   layby.ErrRetriable,
	} {
		if got := err.Error(); got != want {
			t.Errorf("text = %q, want %q", got, want)
		}
	}
	if got := layby.Verdict(9).String(); got != "Verdict(9)" {
		t.Errorf("an unknown verdict is written %q", got)
	}
}
