package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// logTail is how much of a server's log goes into an error.
const logTail = 4 << 10

// Command says what to run.
type Command struct {
	Path string
	Args []string
	Env  []string // added to the program's own
	Log  string   // the file that gets what the process prints; appended to
	User *User    // nil: the same as the program's
}

// Process is one running server process.
type Process struct {
	keeper  *Keeper
	cmd     *exec.Cmd
	logFile string
	done    chan struct{}
	err     error // of Wait; set before done is closed
}

// Start runs a command under the keeper. The process does not see the signals that a terminal sends to the program.
func (k *Keeper) Start(c Command) (*Process, error) {
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(c.Path), err)
	}
	defer log.Close()

	cmd := exec.Command(c.Path, c.Args...) //nolint:noctx // lives until it is stopped, not as long as a call
	cmd.Dir = k.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.User.credential()}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(c.Path), err)
	}
	p := &Process{keeper: k, cmd: cmd, logFile: c.Log, done: make(chan struct{})}
	added := k.add(p)
	go p.wait()
	if added != nil {
		p.Kill()
		return nil, fmt.Errorf("start %s: %w", filepath.Base(c.Path), added)
	}
	return p, nil
}

// Run runs a command of a short life as c.User and returns an error with what it printed if it fails.
func Run(ctx context.Context, c Command) error {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.User.credential()}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(c.Path), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// wait is the process's own goroutine: it ends with the process.
func (p *Process) wait() {
	p.err = p.cmd.Wait()
	p.keeper.drop(p)
	close(p.done)
}

func (p *Process) pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Failed describes a process that ended by itself, with the end of its log.
func (p *Process) Failed() error {
	<-p.done
	err := p.err
	if err == nil {
		err = errors.New("it ended without an error")
	}
	return fmt.Errorf("%s ended: %w\n%s", filepath.Base(p.cmd.Path), err, p.LogTail())
}

// LogTail returns the last lines that the process printed.
func (p *Process) LogTail() string {
	b, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	if len(b) > logTail {
		b = b[len(b)-logTail:]
	}
	return strings.TrimSpace(string(b))
}

// Stop sends a signal and waits for the end of the process; when ctx ends first, the process is killed and the error
// says so. Stopping a process that has ended is no error.
func (p *Process) Stop(ctx context.Context, sig syscall.Signal) error {
	if err := p.signal(sig); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("stop %s: %w, killed it\n%s", filepath.Base(p.cmd.Path), ctx.Err(), p.LogTail())
	}
}

// Kill ends the process with SIGKILL, also when it is frozen, and waits for its end.
func (p *Process) Kill() {
	_ = p.signal(syscall.SIGKILL) // it fails only for a process that has ended
	<-p.done
}

func (p *Process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", sig, filepath.Base(p.cmd.Path), err)
	}
	return nil
}
