package admin

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

func TestAFileOfTokensThatCouldNotBeReadIsReadAgain(t *testing.T) {
	token, line, err := NewToken("ann", Viewer)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens := &tokens{path: file, log: slog.New(slog.DiscardHandler), readFile: func(string) ([]byte, error) {
		return nil, &fs.PathError{Op: "open", Path: file, Err: fs.ErrPermission}
	}}
	if _, ok, err := tokens.find(context.Background(), token); ok || err == nil {
		t.Fatalf("%v, %v", ok, err)
	}
	tokens.readFile = os.ReadFile // somebody has given the file to another owner
	if _, ok, err := tokens.find(context.Background(), token); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}
