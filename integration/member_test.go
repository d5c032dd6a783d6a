package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	upTimeout   = 20 * time.Second
	stopTimeout = 40 * time.Second
	tailBytes   = 6000
)

// member is one process of the consumer.
type member struct {
	t    testing.TB
	name string
	log  string // the file that holds its standard error
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how; set before done is closed

	mu      sync.Mutex
	address string
}

// command makes a process of this binary that runs the command line.
func command(ctx context.Context, w *world, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LAYBY_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, memberEnv+"="+name, relayEnv+"="+w.service.server.URL+"/relay/"+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start starts a member and waits until it serves its probes. It is stopped at the end of the test.
func (w *world) start() *member {
	w.t.Helper()
	m := w.launch()
	eventually(w.t, upTimeout, "the member serves its probes", func() (bool, string) {
		select {
		case <-m.done:
			w.t.Fatalf("member %s ended: %v\n%s", m.name, m.err, m.tail())
		default:
		}
		return m.url() != "", m.tail()
	})
	return m
}

// launch starts a member and does not wait.
func (w *world) launch() *member {
	w.t.Helper()
	w.launched++
	name := "m" + strconv.Itoa(w.launched)
	m := &member{t: w.t, name: name, log: filepath.Join(w.dir, name+".log"), done: make(chan struct{})}
	path := filepath.Join(w.dir, name+".yaml")
	if err := os.WriteFile(path, w.configFor(name), 0o600); err != nil {
		w.t.Fatal(err)
	}
	out, err := os.Create(m.log)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close() // the process has its own handle
	m.cmd = command(context.Background(), w, name, append([]string{"run", "-c", path}, w.flags...)...)
	m.cmd.Stdout, m.cmd.Stderr = out, out
	if err := m.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		m.err = m.cmd.Wait()
		close(m.done)
	}()
	w.t.Cleanup(func() {
		m.kill()
		if _, race, found := strings.Cut(m.text(), "WARNING: DATA RACE"); found {
			w.t.Errorf("member %s has a data race:%s", m.name, race[:min(len(race), tailBytes)])
		}
		if w.t.Failed() {
			w.t.Logf("the end of the log of member %s (%v):\n%s", m.name, m.err, m.tail())
		}
	})
	w.members = append(w.members, m)
	return m
}

func (m *member) signal(s os.Signal) {
	if err := m.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		m.t.Errorf("send %v to member %s: %v", s, m.name, err)
	}
}

// kill ends the member as a crash does.
func (m *member) kill() {
	m.signal(syscall.SIGKILL)
	<-m.done
}

// freeze stops the process as it is; thaw lets it go on.
func (m *member) freeze() { m.signal(syscall.SIGSTOP) }
func (m *member) thaw()   { m.signal(syscall.SIGCONT) }

// stop stops the member in good order and fails the test unless it ends well.
func (m *member) stop() {
	m.t.Helper()
	m.signal(syscall.SIGTERM)
	if code := m.wait(stopTimeout); code != 0 {
		m.t.Errorf("member %s ended with %d after a stop:\n%s", m.name, code, m.tail())
	}
}

// wait waits for the process to end and returns its exit code, -1 after a signal.
func (m *member) wait(limit time.Duration) int {
	m.t.Helper()
	select {
	case <-m.done:
	case <-time.After(limit):
		m.t.Errorf("member %s did not end within %v:\n%s", m.name, limit, m.tail())
		m.kill()
	}
	return m.cmd.ProcessState.ExitCode()
}

func (m *member) alive() bool {
	select {
	case <-m.done:
		return false
	default:
		return true
	}
}

// text is all that the member wrote.
func (m *member) text() string {
	b, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// tail is the end of what the member wrote.
func (m *member) tail() string {
	text := m.text()
	if cut := len(text) - tailBytes; cut > 0 {
		text = "..." + text[cut:]
	}
	return strings.TrimSpace(text)
}

// url is where the member serves probes and metrics; empty as long as it does not.
func (m *member) url() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.address == "" {
		_, rest, _ := strings.Cut(m.text(), `msg="serving probes and metrics" address=`)
		if address, _, whole := strings.Cut(rest, "\n"); whole {
			m.address = "http://" + strings.Fields(address)[0]
		}
	}
	return m.address
}

// get asks the member over HTTP; status 0 when it does not answer.
func (m *member) get(path string) (status int, body string) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(m.url() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// metric adds up the samples of a metric whose line begins with the name and holds all texts.
func (m *member) metric(name string, texts ...string) (sum float64, found bool) {
	_, body := m.get("/metrics")
next:
	for line := range strings.Lines(body) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(rest, text) {
				continue next
			}
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
		if err != nil {
			continue
		}
		sum, found = sum+v, true
	}
	return sum, found
}

// running counts the partitions that the member owns and works on.
func (m *member) running() int {
	n, _ := m.metric("layby_partition_state", `state="running"`)
	return int(n)
}

// heap is what the member's heap holds after a garbage collection, in bytes.
func (m *member) heap() int {
	m.t.Helper()
	before := strings.Count(m.text(), heapMark)
	m.signal(syscall.SIGUSR1)
	var last string
	eventually(m.t, 10*time.Second, "member "+m.name+" weighs its heap", func() (bool, string) {
		parts := strings.Split(m.text(), heapMark)
		last = parts[len(parts)-1]
		return len(parts)-1 > before && strings.Contains(last, "\n"), "no answer"
	})
	n, err := strconv.Atoi(strings.Fields(last)[0])
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// owners waits until the members together run all partitions.
func (w *world) owners(partitions int, members ...*member) {
	w.t.Helper()
	eventually(w.t, 40*time.Second, fmt.Sprintf("%d members run %d partitions", len(members), partitions), func() (bool, string) {
		sum, saw, each := 0, "", true
		for _, m := range members {
			n := m.running()
			sum += n
			each = each && n > 0
			saw += fmt.Sprintf("%s: %d; ", m.name, n)
		}
		return sum == partitions && each, saw
	})
}
