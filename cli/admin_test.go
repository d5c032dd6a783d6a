package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAdminToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	r := try(t, valid, nil, "admin", "token", "ann", "--role", "operator")
	r.expect(t, exitDone, "layby_", "ann operator sha256:")
	if token := strings.TrimSpace(r.stdout); strings.Contains(r.stderr, token) || len(token) != len("layby_")+43 {
		t.Errorf("%+v", r)
	}
	for range 2 {
		r = try(t, valid, nil, "admin", "token", "bob", "--file", file)
	}
	r.expect(t, exitFailed, "", "bob has a token in line 1 already")
	try(t, valid, nil, "admin", "token", "eve", "--file", file).expect(t, exitDone, "layby_", "")
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "\n") != 2 || !strings.Contains(string(text), "eve viewer sha256:") {
		t.Errorf("%s, %v", text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	try(t, valid, nil, "admin", "token", "ann", "--role", "boss").expect(t, exitUsage, "", `"boss" is no role`)
	try(t, valid, nil, "admin", "token", "a b").expect(t, exitUsage, "", "is no name")
	try(t, valid, nil, "admin", "token").expect(t, exitUsage, "", "arg")
}

func TestAdminRefusesToBeOpen(t *testing.T) {
	open := valid + "\nadmin: {listen: \"0.0.0.0:0\"}\n"
	for _, command := range []string{"admin", "run"} {
		try(t, open, nil, command).expect(t, exitUsage, "", "admin.tokens_file")
	}
	open = valid + "\nadmin: {listen: \"127.0.0.1:0\", tokens_file: none}\n"
	try(t, open, nil, "admin").expect(t, exitUsage, "", "admin.tokens_file")
}
