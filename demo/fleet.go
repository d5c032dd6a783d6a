package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	stopWait = 12 * time.Second
	logTail  = 2 << 10
)

// member is one process of the consumer groups: this program, started with `demo member`.
type member struct {
	number int
	cmd    *exec.Cmd
	log    string
	done   chan struct{}
	err    error // how it ended; set before done is closed

	mu       sync.Mutex
	expected bool // we ended it
}

// fleet starts and ends the members.
type fleet struct {
	executable string
	config     string
	dir        string                      // of the logs
	journals   string                      // the directory for what the handlers do
	environ    func(member int) []string   // what a member has of its own
	ended      func(m *member, log string) // a member ended that we did not end

	mu      sync.Mutex
	members []*member
	wg      sync.WaitGroup
}

// start starts the next member. It does not see the signals that a terminal sends: the demo stops its members itself,
// and they end with it, however it ends.
func (f *fleet) start(ctx context.Context) (*member, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &member{number: len(f.members) + 1, done: make(chan struct{})}
	m.log = filepath.Join(f.dir, fmt.Sprintf("member-%d.log", m.number))
	log, err := os.Create(m.log)
	if err != nil {
		return nil, fmt.Errorf("start member %d: %w", m.number, err)
	}
	defer log.Close() // the child has its own copy
	m.cmd = exec.CommandContext(context.WithoutCancel(ctx), f.executable, "demo", "member", "-c", f.config, "--journal", f.journals)
	m.cmd.Env = append(withoutOverrides(os.Environ()), f.environ(m.number)...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = childAttributes()
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start member %d: %w", m.number, err)
	}
	f.members = append(f.members, m)
	f.wg.Go(func() { f.wait(m) })
	return m, nil
}

// wait is a member's goroutine: it ends with the member.
func (f *fleet) wait(m *member) {
	m.err = m.cmd.Wait()
	close(m.done)
	m.mu.Lock()
	expected := m.expected
	m.mu.Unlock()
	if !expected {
		f.ended(m, m.tail())
	}
}

// withoutOverrides leaves out the variables that would change the members' configuration.
func withoutOverrides(environ []string) []string {
	var out []string
	for _, v := range environ {
		if !strings.HasPrefix(v, "LAYBY__") {
			out = append(out, v)
		}
	}
	return out
}

func (m *member) signal(sig os.Signal) error {
	m.mu.Lock()
	m.expected = true
	m.mu.Unlock()
	if err := m.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to member %d: %w", sig, m.number, err)
	}
	return nil
}

// kill ends the member as a crash does, and waits for its end.
func (m *member) kill() error {
	err := m.signal(syscall.SIGKILL)
	<-m.done
	return err
}

func (m *member) running() bool {
	select {
	case <-m.done:
		return false
	default:
		return true
	}
}

// tail is the end of the member's log.
func (m *member) tail() string {
	b, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-logTail):]))
}

// member returns the member with a number.
func (f *fleet) member(number int) *member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[number-1]
}

// size is how many members were started.
func (f *fleet) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.members)
}

// running lists the numbers of the members that run.
func (f *fleet) running() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []int
	for _, m := range f.members {
		if m.running() {
			list = append(list, m.number)
		}
	}
	return list
}

// stop stops all members in good order, those that take too long for good, and waits for them. Its error says which did
// not end well.
func (f *fleet) stop() error {
	f.mu.Lock()
	members := slices.Clone(f.members)
	f.mu.Unlock()
	var errs []error
	var stopped []*member
	for _, m := range members {
		if m.running() {
			stopped = append(stopped, m)
			errs = append(errs, m.signal(syscall.SIGTERM))
		}
	}
	late, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	for _, m := range stopped {
		select {
		case <-m.done:
		case <-late.Done():
			errs = append(errs, fmt.Errorf("member %d did not stop within %s; the end of its log:\n%s", m.number, stopWait, m.tail()), m.kill())
			continue
		}
		if m.err != nil {
			errs = append(errs, fmt.Errorf("member %d did not stop well: %w; the end of its log:\n%s", m.number, m.err, m.tail()))
		}
	}
	f.wg.Wait()
	return errors.Join(errs...)
}
