package pool

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"unicode/utf8"

	"github.com/sony/gobreaker/v2"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/ordering"
)

// Classes of the failures that the pool finds itself.
const (
	ClassPanic   = "Panic"
	ClassStuck   = "Stuck"
	ClassBreaker = "BreakerOpen"
)

// The bounds of what is kept of an error.
const (
	maxText  = 16 << 10 // bytes of one text
	maxName  = 1000     // of a class or of a dependency's name
	maxStack = 64 << 10
	maxChain = 16
)

// panicked is the error of a handler that did not return.
type panicked struct {
	value any
	stack string
	where string // other than in the handler itself
}

func (p *panicked) Error() (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("panic%s with %s, whose own method panics as well", p.where, kind(p.value))
		}
	}()
	if err, ok := p.value.(error); ok {
		return "panic" + p.where + ": " + err.Error()
	}
	return fmt.Sprintf("panic%s: %v", p.where, p.value)
}

// kind names a value by its type, where its own methods can't be trusted.
func kind(v any) string {
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && r.IsNil() {
		return fmt.Sprintf("a nil %T", v)
	}
	return fmt.Sprintf("a value of type %T", v)
}

var errGoexit = &panicked{value: "the handler ended its goroutine (runtime.Goexit)"}

// call runs the handler. A panic comes back as a *panicked.
func (p *Pool) call(r *run) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicked{value: v, stack: trim(string(debug.Stack()), maxStack)}
		}
	}()
	return p.cfg.Handlers[r.work.Route].Handle(r, &r.work.Event)
}

// judged is the verdict on a run.
type judged struct {
	verdict    ordering.Verdict
	failure    *ordering.Failure
	dependency string // of Unavailable; of Retriable where it may be away
}

// judge says what the handler's error means, given how its context ended.
func (p *Pool) judge(r *run, err error, why ending) (j judged) {
	if err == nil {
		return judged{verdict: ordering.Success}
	}
	if why == cancelled {
		return judged{verdict: ordering.NotRun}
	}
	// The error's own methods are the handler's code too.
	defer func() {
		if v := recover(); v != nil {
			j = failed(&panicked{
				value: v, stack: trim(string(debug.Stack()), maxStack),
				where: fmt.Sprintf(" in a method of the error that the handler returned, %s", kind(err)),
			})
		}
	}()
	var pan *panicked
	if errors.As(err, &pan) {
		return failed(pan)
	}
	verdict := layby.Judge(err)
	if why == timedOut && (verdict.Verdict == layby.VerdictRetriable || endedContext(err)) {
		text := fmt.Sprintf("handler_timeout of %v passed: %v", p.cfg.HandlerTimeout, err)
		return judged{verdict: ordering.Retriable, failure: &ordering.Failure{
			Class: layby.ClassTimeout, Text: trim(text, maxText), Chain: chain(err), AfterDeath: ordering.Policy(verdict.AfterDeath),
		}}
	}
	if verdict.Verdict == layby.VerdictRetriable && breakerOpen(err) {
		verdict.Verdict, verdict.After, verdict.Class = layby.VerdictUnavailable, 0, ClassBreaker
	}
	j = judged{verdict: verdicts[verdict.Verdict], failure: &ordering.Failure{
		Class: trim(verdict.Class, maxName), Text: trim(err.Error(), maxText), Chain: chain(err), Details: verdict.Details,
		After: verdict.After, AfterDeath: ordering.Policy(verdict.AfterDeath),
	}}
	j.dependency = trim(verdict.Dependency, maxName)
	if j.verdict == ordering.Unavailable && j.dependency == "" {
		j.dependency = p.name(r.work.Route)
	}
	return j
}

// verdicts maps those of layby to those of ordering.
var verdicts = [...]ordering.Verdict{
	layby.VerdictSuccess:         ordering.Success,
	layby.VerdictRetriable:       ordering.Retriable,
	layby.VerdictPermanent:       ordering.Permanent,
	layby.VerdictNeedsCorrection: ordering.NeedsCorrection,
	layby.VerdictUnavailable:     ordering.Unavailable,
}

// failed is the verdict on a panic: retriable, for a bad deploy must not empty a topic into the store.
func failed(p *panicked) judged {
	text := trim(p.Error(), maxText)
	return judged{verdict: ordering.Retriable, failure: &ordering.Failure{
		Class: ClassPanic, Text: text, Chain: []string{text}, Stack: p.stack,
	}}
}

func endedContext(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func breakerOpen(err error) bool {
	return errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests)
}

// chain lists the texts of err and what it wraps, outermost first; an error that says nothing new is left out.
func chain(err error) []string {
	var texts []string
	add := func(err error) {
		if text := trim(err.Error(), maxText); len(texts) == 0 || texts[len(texts)-1] != text {
			texts = append(texts, text)
		}
	}
	for err != nil && len(texts) < maxChain {
		add(err)
		switch u := err.(type) { //nolint:errorlint // the walk itself
		case interface{ Unwrap() error }:
			err = u.Unwrap()
		case interface{ Unwrap() []error }:
			for _, inner := range u.Unwrap() {
				if inner != nil && len(texts) < maxChain {
					add(inner)
				}
			}
			return texts
		default:
			return texts
		}
	}
	return texts
}

// trim cuts a text to so many bytes, at the start of a rune where it has runes.
func trim(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for cut := limit; cut > limit-utf8.UTFMax && cut > 0; cut-- {
		if utf8.RuneStart(text[cut]) {
			return text[:cut]
		}
	}
	return text[:limit]
}
