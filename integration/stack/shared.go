package stack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"
)

// startTimeout is for a first start on a machine too, with downloads.
const startTimeout = 5 * time.Minute

var (
	exit             = os.Exit
	stderr io.Writer = os.Stderr

	sharedKafka    once[*Kafka]
	sharedPostgres once[*Postgres]
)

// once is a server of the test binary: started by the first test that wants it. A start that failed is not tried again.
type once[T any] struct {
	mu      sync.Mutex
	started bool
	value   T
	err     error
}

func (o *once[T]) get(start func() (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.started {
		o.value, o.err = start()
		o.started = true
	}
	return o.value, o.err
}

// take gives the running server away, for closing it.
func (o *once[T]) take() (value T, running bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	running = o.started && o.err == nil
	o.started = false
	return o.value, running
}

// SharedKafka returns the Kafka of this test binary, of one broker.
func SharedKafka(t testing.TB) *Kafka {
	t.Helper()
	k, err := sharedKafka.get(func() (*Kafka, error) {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		return startKafka(ctx, 1, t.Logf, shared)
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// SharedPostgres returns the Postgres of this test binary.
func SharedPostgres(t testing.TB) *Postgres {
	t.Helper()
	p, err := sharedPostgres.get(func() (*Postgres, error) {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		return startPostgres(ctx, t.Logf, shared)
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// NewKafka starts a Kafka of 1 or 3 brokers for one test, which may do to it what it likes. LAYBY_KAFKA is not for it.
func NewKafka(t testing.TB, brokers int) *Kafka {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	k, err := startKafka(ctx, brokers, t.Logf, own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.servers.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// NewPostgres starts a Postgres for one test, which may do to it what it likes. LAYBY_POSTGRES is not for it.
func NewPostgres(t testing.TB) *Postgres {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	p, err := startPostgres(ctx, t.Logf, own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.server.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func closeShared() error {
	var errs []error
	if k, running := sharedKafka.take(); running {
		errs = append(errs, k.servers.Close())
	}
	if p, running := sharedPostgres.take(); running {
		errs = append(errs, p.server.Close())
	}
	return errors.Join(errs...)
}

// Name returns a name that no other test uses: prefix, "_" and eight hexadecimal digits. With a prefix of letters, digits
// and "_" it is good for topics, groups, schemas and databases.
func Name(t testing.TB, prefix string) string {
	t.Helper()
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return prefix + "_" + hex.EncodeToString(b[:])
}

func logTo(w io.Writer) logf {
	if w == nil {
		w = io.Discard
	}
	return func(format string, args ...any) {
		fmt.Fprintf(w, format+"\n", args...)
	}
}
