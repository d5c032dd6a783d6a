package docs

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// running is a command that goes on until it is stopped.
type running struct {
	s    *terminal
	cmd  *exec.Cmd
	done chan error
	mu   sync.Mutex
	out  bytes.Buffer
}

func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(b)
}

func (r *running) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.s.back.Replace(r.out.String())
}

// start runs a block's commands in a terminal of their own, until stop or the end of the test.
func (s *terminal) start(b *block) *running {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{s: s, cmd: s.command(ctx, b.text), done: make(chan error, 1)}
	r.cmd.Stdout, r.cmd.Stderr = r, r
	if err := r.cmd.Start(); err != nil {
		cancel()
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- r.cmd.Wait()
	}()
	s.t.Cleanup(func() { cancel(); <-ended })
	return r
}

// says waits for a text.
func (r *running) says(text string) {
	r.s.t.Helper()
	r.s.until(waiting, func() bool { return strings.Contains(r.text(), text) }, func() string { return text + ", but\n" + r.text() })
}

// stop ends it as Ctrl-C does, and expects a good end.
func (r *running) stop() {
	r.s.t.Helper()
	if err := syscall.Kill(-r.cmd.Process.Pid, syscall.SIGINT); err != nil {
		r.s.t.Fatal(err)
	}
	select {
	case err := <-r.done:
		var exit *exec.ExitError
		interrupted := errors.As(err, &exit) && exit.ExitCode() == 128+int(syscall.SIGINT) // the shell was, too
		if err != nil && !interrupted {
			r.s.t.Errorf("it ended with %v:\n%s", err, r.text())
		}
	case <-time.After(time.Minute):
		r.s.t.Fatalf("it does not stop:\n%s", r.text())
	}
}
