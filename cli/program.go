package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"syscall"

	"github.com/layby-go/layby"
)

// Option is something that a program adds to the commands.
type Option interface{ apply(a *app) }

// Handlers are a program's handlers by the names that routes use.
type Handlers map[string]layby.Handler

func (h Handlers) apply(a *app) { maps.Copy(a.handlers, h) }

// Beside is what a program runs beside its consumers: an outbox, say. `layby run` starts it before the first event comes, and ends
// its context when the last handler has returned. Should it return before that, the process ends as failed, with its error.
type Beside func(ctx context.Context) error

func (b Beside) apply(a *app) { a.beside = append(a.beside, b) }

// Version is the version that the program shows.
type Version string

func (v Version) apply(a *app) { a.version = string(v) }

// Exit codes of every command.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
	exitConflict = 4
)

// Main runs the command that the process was started with and ends the process. The first SIGINT or SIGTERM stops the
// command in good order, the second ends the process at once.
func Main(opts ...Option) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go obey(signals, os.Stderr, cancel, os.Exit) // lives as long as the process
	os.Exit(Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, opts...))
}

// obey stops the command at the first signal and the process at the second.
func obey(signals <-chan os.Signal, stderr io.Writer, stop context.CancelCauseFunc, exit func(code int)) {
	first := stoppedBy{<-signals}
	fmt.Fprintf(stderr, "layby: %v: stopping; a second signal ends the process at once\n", first)
	stop(first)
	exit(stoppedBy{<-signals}.exitCode())
}

// Run runs one command and returns its exit code. It stops in good order when the context ends.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, opts ...Option) int {
	a := &app{
		stdin: stdin, stdout: stdout, stderr: stderr, environ: os.Environ(),
		handlers: map[string]layby.Handler{}, version: buildVersion(),
	}
	for _, opt := range opts {
		opt.apply(a)
	}
	return a.run(ctx, args)
}

// stoppedBy is the cause of a context that a signal ended.
type stoppedBy struct{ signal os.Signal }

func (s stoppedBy) Error() string { return s.signal.String() }

// exitCode is what shells expect of a process that a signal ended.
func (s stoppedBy) exitCode() int {
	if number, ok := s.signal.(syscall.Signal); ok {
		return 128 + int(number)
	}
	return exitFailed
}

// exitError is an error with the exit code that it leads to.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage marks an error as a mistake in the command line or the configuration.
func usage(err error) error { return &exitError{exitUsage, err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

func notFound(err error) error { return &exitError{exitNotFound, err} }

func conflict(err error) error { return &exitError{exitConflict, err} }

// exitCodeOf returns the exit code that an error leads to.
func exitCodeOf(err error) int {
	var coded *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &coded):
		return coded.code
	}
	return exitFailed
}
