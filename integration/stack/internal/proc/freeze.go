package proc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// Freeze stops a process and its children as they are (SIGSTOP): its sockets stay open, nothing is answered. The
// process goes first, so that it can't start another child meanwhile.
func (p *Process) Freeze(ctx context.Context) error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	pids, err := children(ctx, p.pid())
	if err != nil {
		return err
	}
	p.keeper.setFrozen(pids)
	for _, pid := range pids {
		// One that has ended since needs no freezing.
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	return nil
}

// Thaw lets a frozen process and its children go on.
func (p *Process) Thaw(ctx context.Context) error {
	pids, err := children(ctx, p.pid())
	if err != nil {
		return err
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	p.keeper.setFrozen(nil)
	return p.signal(syscall.SIGCONT)
}

// children asks the kernel, and ps where the kernel does not tell.
func children(ctx context.Context, parent int) ([]int, error) {
	var fields []string
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent)); err == nil {
		fields = strings.Fields(string(b))
	} else {
		out, err := exec.CommandContext(ctx, "ps", "-A", "-o", "pid=", "-o", "ppid=").Output()
		if err != nil {
			return nil, fmt.Errorf("list the children of a server with ps (install procps): %w", err)
		}
		for line := range strings.Lines(string(out)) {
			if f := strings.Fields(line); len(f) == 2 && f[1] == strconv.Itoa(parent) {
				fields = append(fields, f[0])
			}
		}
	}
	pids := make([]int, 0, len(fields))
	for _, f := range fields {
		pid, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("list the children of a server: %w", err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
