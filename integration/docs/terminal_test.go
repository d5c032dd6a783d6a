package docs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/layby-go/layby/integration/stack"
)

// terminal runs a page's commands as a reader would, in a directory of its own. Addresses that the page names are those of
// this test's servers.
type terminal struct {
	t       *testing.T
	dir     string
	env     []string
	there   *strings.Replacer // what a page says, as it is here
	back    *strings.Replacer // and back
	prelude string            // functions that the page had the shell learn
}

// The addresses of the pages.
const (
	pageKafka    = "localhost:9092"
	pagePostgres = "postgres://layby:layby@localhost/layby"
)

// open makes a terminal with a Kafka and a database of its own, since all pages use the same names. Pairs are further texts of the page and what stands for them here.
func open(t *testing.T, pairs ...string) *terminal {
	t.Helper()
	kafka, url := stack.NewKafka(t, 1).Addresses()[0], stack.SharedPostgres(t).NewDatabase(t)
	listen := "127.0.0.1:" + freePort(t)
	pairs = append([]string{
		pageKafka, kafka, pagePostgres, url, "postgres://layby@localhost/layby", url, "127.0.0.1:8080", listen,
	}, pairs...)
	back := make([]string, len(pairs))
	for i := 0; i < len(pairs); i += 2 {
		back[i], back[i+1] = pairs[i+1], pairs[i]
	}
	term := &terminal{
		t: t, dir: t.TempDir(), there: strings.NewReplacer(pairs...), back: strings.NewReplacer(back...),
	}
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"bin", "tools"} {
		if err := os.Mkdir(filepath.Join(term.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(term.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name := range tools {
		link(self, filepath.Join("tools", name))
	}
	link(self, "bin/layby")
	link(filepath.Join(here, "examples"), "examples")
	term.env = append(os.Environ(), "PATH="+filepath.Join(term.dir, "tools")+":"+os.Getenv("PATH"), rootEnv+"="+here, "LAYBY__HTTP__LISTEN="+listen)
	return term
}

// write puts a block's text into a file, with the addresses of this test.
func (s *terminal) write(name string, b *block) { s.writeText(name, b.text) }

func (s *terminal) writeText(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(s.there.Replace(text)), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// command is a shell with a block's commands. It ends at the first that fails.
func (s *terminal) command(ctx context.Context, text string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", s.prelude+s.there.Replace(text))
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that a stop reaches what the shell started
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	return cmd
}

// learn runs a block of shell functions, which later commands know.
func (s *terminal) learn(b *block) {
	s.t.Helper()
	s.run(b)
	s.prelude += b.text
}

// run runs a block's commands and returns what they print, in the words of the page.
func (s *terminal) run(b *block) string {
	s.t.Helper()
	out, err := s.try(b.text)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", b.text, err, out)
	}
	return out
}

func (s *terminal) try(text string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	out, err := s.command(ctx, text).CombinedOutput()
	return s.back.Replace(string(out)), err
}

// prints runs a block's commands and compares what they print with the output block that follows it.
func (s *terminal) prints(p *page, b *block) {
	s.t.Helper()
	want := p.after(b, "output")
	if got := s.run(b); !same(want.text, got) {
		s.t.Errorf("%s:%d: the commands\n%sprint\n%swhere the page has\n%s", p.name, want.line, b.text, got, want.text)
	}
}

// eventuallyPrints is prints for what takes a while: the commands are run until they print it.
func (s *terminal) eventuallyPrints(p *page, b *block) {
	s.t.Helper()
	want := p.after(b, "output")
	var got string
	s.until(waiting, func() bool {
		got, _ = s.try(b.text)
		return same(want.text, got)
	}, func() string { return b.text + "prints\n" + got + "where the page has\n" + want.text })
}

// waiting is how long something may take that a page says will happen.
const waiting = time.Minute

// written says whether a file in a directory holds a text.
func (s *terminal) written(dir, text string) bool {
	files, _ := filepath.Glob(filepath.Join(s.dir, dir, "*"))
	return slices.ContainsFunc(files, func(file string) bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(b), text)
	})
}

// until asks again and again until the answer is yes.
func (s *terminal) until(wait time.Duration, yes func() bool, said func() string) {
	s.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(wait); !yes(); {
		select {
		case <-tick.C:
		case <-timeout:
			s.t.Fatalf("not within %v: %s", wait, said())
		}
	}
}

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

// What differs from one run to the next.
var varying = []struct{ pattern, name string }{
	{`\b\d{10,}-\d+-[0-9a-f]{8}\b`, "CURSOR"},
	{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)`, "TIME"},
	{`\b\d+(\.\d+)?(ns|µs|ms|s)\b`, "DURATION"},
	{`[\w.-]+/\d+\b`, "PLACE"}, // an instance: its host and process id; and a topic's partition
	{`\b[0-9a-f]{16,}\b`, "HASH"},
	{`[ \t]+`, " "},
	{`-{2,}`, "--"},
	{` ?\n ?`, "\n"},
}

// same compares what a page shows with what is printed. Times, durations, instances and the widths of columns do not count,
// and a line of three dots stands for any number of lines.
func same(page, printed string) bool {
	page, printed = normal(page), normal(printed)
	pattern := regexp.QuoteMeta(page)
	pattern = strings.ReplaceAll(pattern, `\.\.\.`+"\n", "(.*\n)*")
	return regexp.MustCompile(`\A` + pattern + `\z`).MatchString(printed)
}

func normal(text string) string {
	text = strings.TrimSpace(text) + "\n"
	for _, v := range varying {
		text = regexp.MustCompile(v.pattern).ReplaceAllString(text, v.name)
	}
	return strings.TrimSpace(text) + "\n"
}

func TestWhatAPageShowsIsComparedWithWhatIsPrinted(t *testing.T) {
	for _, c := range []struct {
		page, printed string
		want          bool
	}{
		{"a  b\n", "a b\n", true},
		{"at 2026-01-01T00:00:00Z in 3ms", "at 2027-05-01T10:20:30Z in 1.5s", true},
		{"first\n...\nlast\n", "first\nsecond\nthird\nlast\n", true},
		{"first\n...\nlast\n", "first\nsecond\nthird\n", false},
		{"1 parked", "2 parked", false},
		{"a\n", "a\nb\n", false},
		{"a.b", "axb", false},
	} {
		if got := same(c.page, c.printed); got != c.want {
			t.Errorf("%q for %q: %v", c.page, c.printed, got)
		}
	}
}
