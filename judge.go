package layby

import (
	"context"
	"errors"
	"reflect"
)

// Judge says what a handler's error means. Err of the answer is err itself.
//
// The outermost verdict in err counts, with its After, Details and Dependency; the outermost class and the outermost
// policy count whoever set them. Without a verdict err is Retriable. Without a class it is Timeout for a deadline
// that passed, Unavailable for an Unavailable without a cause, else the name of the innermost error's type
// (*pgconn.PgError: PgError), and Error where that says nothing.
func Judge(err error) Error {
	if err == nil {
		return Error{}
	}
	j := judgeVerdict(err)
	if j.Class == "" {
		j.Class = className(err)
	}
	return j
}

// judgeVerdict is Judge with only the class that was given.
func judgeVerdict(err error) Error {
	j := Error{Err: err}
	visit(err, func(e *Error) {
		if j.Verdict == VerdictSuccess && e.Verdict != VerdictSuccess {
			j.Verdict, j.After, j.Details, j.Dependency = e.Verdict, e.After, e.Details, e.Dependency
		}
		if j.Class == "" {
			j.Class = e.Class
		}
		if j.AfterDeath == PolicyDefault {
			j.AfterDeath = e.AfterDeath
		}
	})
	if j.Verdict == VerdictSuccess {
		j.Verdict = VerdictRetriable
	}
	return j
}

// visit calls fn for every *Error in err, outermost and first first, in the order of errors.As.
func visit(err error, fn func(*Error)) {
	for err != nil {
		if e, ok := err.(*Error); ok { //nolint:errorlint // this is the walk that errors.As would do
			fn(e)
		}
		switch u := err.(type) { //nolint:errorlint // as above
		case interface{ Unwrap() error }:
			err = u.Unwrap()
		case interface{ Unwrap() []error }:
			for _, inner := range u.Unwrap() {
				visit(inner, fn)
			}
			return
		default:
			return
		}
	}
}

// className names the kind of an error that was given no class.
func className(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return ClassTimeout
	}
	inner := innermost(err)
	if e, ok := inner.(*Error); ok { //nolint:errorlint // nothing is inside it
		if e.Verdict == VerdictUnavailable {
			return ClassUnavailable
		}
		return ClassError
	}
	t := reflect.TypeOf(inner)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.PkgPath() {
	case "errors", "fmt": // errorString, wrapError, joinError
		return ClassError
	}
	if t.Name() == "" {
		return ClassError
	}
	return t.Name()
}

// innermost follows err to its end, along the first branch of a joined error.
func innermost(err error) error {
	for {
		var next error
		switch u := err.(type) { //nolint:errorlint // the walk itself
		case interface{ Unwrap() error }:
			next = u.Unwrap()
		case interface{ Unwrap() []error }:
			if all := u.Unwrap(); len(all) > 0 {
				next = all[0]
			}
		}
		if next == nil {
			return err
		}
		err = next
	}
}
