package admin

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestATokenFileKeepsItsOwnerAndItsPlace(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "tokens"), filepath.Join(dir, "link")
	line := func(name string) string {
		_, line, err := NewToken(name, Viewer)
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	if err := os.WriteFile(file, []byte(line("ann")+"\n"), 0o640); err != nil { //nolint:gosec // its group reads it
		t.Fatal(err)
	}
	owner := os.Geteuid()
	if owner == 0 {
		owner = 12345
		if err := os.Chown(file, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := AddLine(link, line("bob")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(file)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !ok || int(s.Uid) != owner || info.Mode() != 0o640 {
		t.Errorf("it is of %+v, mode %v", s, info.Mode())
	}
	if to, err := os.Readlink(link); err != nil || to != file {
		t.Errorf("the link leads to %q: %v", to, err)
	}
	if err := os.WriteFile(file+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := AddLine(file, line("cid")); err == nil || !strings.Contains(err.Error(), "is there: somebody is adding") {
		t.Errorf("two at once: %v", err)
	}
	text, err := os.ReadFile(file)
	if n := strings.Count(string(text), "\n"); err != nil || n != 2 {
		t.Errorf("it has %d lines: %v", n, err)
	}
}
