package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// keeperScript runs in a shell beside the program. Each line on its input is the list of all process ids to look after.
// The input ends when the program closes the keeper or dies, however it dies; what is on the list then is ended (a
// stopped process is continued first, or it would not see the signal) and the directory removed.
const keeperScript = `
trap '' HUP INT TERM
pids=
while read -r line; do pids=$line; done
if [ -n "$pids" ]; then
	kill -CONT $pids; kill -QUIT $pids; sleep 1; kill -KILL $pids; sleep 0.2
fi 2>/dev/null
[ -z "$1" ] || rm -rf "$1"
`

// Keeper owns a directory and the processes that were started with it. All of them end, and a temporary directory is
// removed, when the keeper is closed or when the program ends in any way, kill -9 included.
type Keeper struct {
	// Dir is where the files of the processes are.
	Dir string

	watcher *exec.Cmd
	input   io.WriteCloser

	mu     sync.Mutex
	procs  []*Process
	frozen []int // process ids that Freeze stopped and that are no process of ours: children of one
}

// NewKeeper starts a keeper with a temporary directory of its own, which is removed at the end.
func NewKeeper(name string) (*Keeper, error) {
	dir, err := os.MkdirTemp("", "layby-"+name+"-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for %s: %w", name, err)
	}
	// Servers that run as another user have to get to their files below.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	k, err := watch(dir, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return k, nil
}

// KeeperIn starts a keeper over a directory that stays when it is closed.
func KeeperIn(dir string) (*Keeper, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of a server: %w", err)
	}
	return watch(dir, "")
}

func watch(dir, remove string) (*Keeper, error) {
	// The context-free Command is on purpose: the watcher lives until the keeper is closed.
	cmd := exec.Command("/bin/sh", "-c", keeperScript, "layby-keeper", remove) //nolint:noctx // see above
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // the terminal's Ctrl-C is not for it
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the keeper of %s: %w", dir, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the keeper of %s: %w", dir, err)
	}
	return &Keeper{Dir: dir, watcher: cmd, input: input}, nil
}

// Close kills what still runs, removes a temporary directory and waits for both.
func (k *Keeper) Close() error {
	k.mu.Lock()
	procs := slices.Clone(k.procs)
	k.mu.Unlock()
	for _, p := range procs {
		p.Kill()
	}
	err := k.input.Close()
	return errors.Join(err, k.watcher.Wait())
}

// tell gives the watcher the list of process ids as it is now; k.mu is held.
func (k *Keeper) tell() error {
	ids := make([]string, 0, len(k.procs)+len(k.frozen))
	for _, p := range k.procs {
		ids = append(ids, strconv.Itoa(p.pid()))
	}
	for _, pid := range k.frozen {
		ids = append(ids, strconv.Itoa(pid))
	}
	if _, err := io.WriteString(k.input, strings.Join(ids, " ")+"\n"); err != nil {
		return fmt.Errorf("tell the keeper of %s: %w", k.Dir, err)
	}
	return nil
}

func (k *Keeper) add(p *Process) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.procs = append(k.procs, p)
	return k.tell()
}

func (k *Keeper) drop(p *Process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.procs = slices.DeleteFunc(k.procs, func(o *Process) bool { return o == p })
	// The watcher can only be gone if somebody killed it; then there is nobody to tell.
	_ = k.tell()
}

func (k *Keeper) setFrozen(pids []int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.frozen = pids
	_ = k.tell()
}
