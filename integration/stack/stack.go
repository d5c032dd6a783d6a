package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
)

// Options say what Start starts.
type Options struct {
	Kafka    bool
	Brokers  int // 1 (also when it is 0) or 3
	Postgres bool
	// Log gets lines about what was chosen and what takes long. Nil: nothing.
	Log io.Writer
}

// Stack is a Kafka and a Postgres for a program; a test uses SharedKafka and SharedPostgres.
type Stack struct {
	Kafka    *Kafka    // nil unless asked for
	Postgres *Postgres // nil unless asked for
}

// Start starts what the options ask for and returns when it answers.
func Start(ctx context.Context, o Options) (*Stack, error) {
	s := &Stack{}
	var err error
	if o.Postgres {
		if s.Postgres, err = startPostgres(ctx, logTo(o.Log), shared); err != nil {
			return nil, err
		}
	}
	if o.Kafka {
		if s.Kafka, err = startKafka(ctx, o.Brokers, logTo(o.Log), shared); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Close ends the servers that Start started.
func (s *Stack) Close() error {
	var errs []error
	if s.Kafka != nil {
		errs = append(errs, s.Kafka.servers.Close())
	}
	if s.Postgres != nil {
		errs = append(errs, s.Postgres.server.Close())
	}
	return errors.Join(errs...)
}

// Main runs the tests of a binary, ends its shared servers and exits. It is all that a TestMain needs.
func Main(m *testing.M) { exit(run(m.Run)) }

// Run is Main for a TestMain that has more to do after the tests, such as looking for leaked goroutines: it returns the
// exit code.
func Run(m *testing.M) int { return run(m.Run) }

func run(tests func() int) int {
	code := tests()
	if err := closeShared(); err != nil {
		fmt.Fprintln(stderr, "close the servers of the tests:", err)
		if code == 0 {
			code = 1
		}
	}
	return code
}
