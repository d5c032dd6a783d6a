package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", s.there.Replace(s.prelude+text))
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
