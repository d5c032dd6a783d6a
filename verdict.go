package layby

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Verdict is what a handler's error says about its event.
type Verdict uint8

// The verdicts.
const (
	VerdictSuccess Verdict = iota
	VerdictRetriable
	VerdictPermanent
	VerdictNeedsCorrection
	VerdictUnavailable
)

// String returns the verdict as it is written in logs and metrics.
func (v Verdict) String() string {
	switch v {
	case VerdictSuccess:
		return "success"
	case VerdictRetriable:
		return "retriable"
	case VerdictPermanent:
		return "permanent"
	case VerdictNeedsCorrection:
		return "needs-correction"
	case VerdictUnavailable:
		return "unavailable"
	default:
		return fmt.Sprintf("Verdict(%d)", uint8(v))
	}
}

// Policy says what a dead letter does to the later events of its resource.
type Policy uint8

// The policies.
const (
	PolicyDefault Policy = iota // as the consumer's after_dead_letter says
	Hold                        // the resource waits behind its dead letter
	Advance                     // the later events go on without it
)

// Classes that Layby gives by itself.
const (
	ClassTimeout     = "Timeout"
	ClassDecode      = "Decode"
	ClassUnrouted    = "Unrouted"
	ClassUnavailable = "Unavailable"
	ClassError       = "Error" // an error of no type of its own
)

// Errors to compare verdicts with: errors.Is(err, ErrPermanent) is true for what [Permanent] made. A handler may also
// return them, wrapped or not. When an error holds several verdicts the outermost counts; [Judge] says which that is.
var (
	ErrRetriable       error = &Error{Verdict: VerdictRetriable}
	ErrPermanent       error = &Error{Verdict: VerdictPermanent}
	ErrNeedsCorrection error = &Error{Verdict: VerdictNeedsCorrection}
	ErrUnavailable     error = &Error{Verdict: VerdictUnavailable}
)

// Error is an error with a verdict. The functions of this package make it; build one by hand for what they don't
// cover, such as an Unavailable that knows when its dependency can be tried again.
type Error struct {
	Verdict Verdict
	// Class is a short name to group failures by, "UnknownProduct". Empty: the type of the innermost error.
	Class string
	// After is the wait that a Retriable asks for before the next attempt, and the time after which the dependency
	// of an Unavailable may be tried again. 0 leaves it to Layby.
	After time.Duration
	// Details is the JSON that came with NeedsCorrection.
	Details json.RawMessage
	// Dependency names what is Unavailable. With Retriable it says that something the event needs may be away, although
	// this attempt counts: where it was a probe, others wait on.
	Dependency string
	// AfterDeath is the policy for the dead letter, should the event become one.
	AfterDeath Policy
	// Err is what went wrong. It may be nil.
	Err error
}

// Error returns the text of what went wrong. It names the verdict only where there is nothing else to say.
func (e *Error) Error() string {
	switch {
	case e.Verdict == VerdictUnavailable && e.Dependency != "" && !sameDependency(e.Err, e.Dependency):
		if e.Err != nil {
			return fmt.Sprintf("%s is unavailable: %v", e.Dependency, e.Err)
		}
		return e.Dependency + " is unavailable"
	case e.Err != nil:
		return e.Err.Error()
	default:
		return e.Verdict.String()
	}
}

// sameDependency says whether err names the dependency already, so that wrapping adds nothing to the text.
func sameDependency(err error, dependency string) bool {
	var inner *Error
	return errors.As(err, &inner) && inner.Verdict == VerdictUnavailable && inner.Dependency == dependency
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Is says whether target is the sentinel of e's verdict.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrRetriable:
		return e.Verdict == VerdictRetriable
	case ErrPermanent:
		return e.Verdict == VerdictPermanent
	case ErrNeedsCorrection:
		return e.Verdict == VerdictNeedsCorrection
	case ErrUnavailable:
		return e.Verdict == VerdictUnavailable
	default:
		return false
	}
}

// Retriable says that a later attempt may succeed, after the given wait if there is one. A nil err stays nil.
func Retriable(err error, after ...time.Duration) error {
	if err == nil {
		return nil
	}
	e := &Error{Verdict: VerdictRetriable, Err: err}
	if len(after) > 0 {
		e.After = max(after[0], 0)
	}
	return e
}

// Permanent says that no attempt will ever succeed. A nil err stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Verdict: VerdictPermanent, Err: err}
}

// NeedsCorrection says that the event can succeed once somebody corrects it. Details, as JSON, say what is wrong with
// it. A nil err stays nil.
func NeedsCorrection(err error, details any) error {
	if err == nil {
		return nil
	}
	e := &Error{Verdict: VerdictNeedsCorrection, Err: err}
	if details == nil {
		return e
	}
	raw, encodeErr := json.Marshal(details)
	if encodeErr != nil {
		raw, _ = json.Marshal(map[string]string{"unencodable": encodeErr.Error()})
	}
	e.Details = raw
	return e
}

// Unavailable says that nothing is wrong with the event: what it depends on is away. No attempt is spent, and the
// route waits until a try succeeds. The dependency's name tells one from another in logs and metrics; an optional
// cause says more.
func Unavailable(dependency string, cause ...error) error {
	e := &Error{Verdict: VerdictUnavailable, Dependency: dependency}
	if len(cause) > 0 {
		e.Err = cause[0]
	}
	return e
}

// Class gives err a class to group it by. The verdict stays: an error without one is Retriable. A nil err stays nil.
func Class(err error, class string) error {
	if err == nil {
		return nil
	}
	e := judgeVerdict(err)
	e.Class = class
	return &e
}

// AfterDeath asks for a policy should the event become a dead letter. Verdict and class stay. A nil err stays nil.
func AfterDeath(err error, p Policy) error {
	if err == nil {
		return nil
	}
	e := judgeVerdict(err)
	e.AfterDeath = p
	return &e
}
