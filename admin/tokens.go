package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
)

// What others may do with the file of tokens.
const (
	othersRead  fs.FileMode = 0o004
	othersWrite fs.FileMode = 0o002
)

// errTokens says that the file of tokens can't be used now: nobody comes in until it can.
var errTokens = errors.New("the file of tokens can't be used")

// tokens are those of a file, which is read again when it has changed.
type tokens struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	read    fs.FileInfo // of the file that entries are from, or that is broken
	entries []entry
	broken  error
}

// openTokens reads a file that must be good at first.
func openTokens(ctx context.Context, path string, log *slog.Logger) (*tokens, error) {
	t := &tokens{path: path, log: log}
	_, err := t.current(ctx)
	return t, err
}

// find returns who a token belongs to; ok is false when it is nobody's. All entries are compared, each in constant time.
func (t *tokens) find(ctx context.Context, token string) (who identity, ok bool, err error) {
	entries, err := t.current(ctx)
	if err != nil {
		return identity{}, false, err
	}
	hash := sha256.Sum256([]byte(token))
	for i := range entries {
		if subtle.ConstantTimeCompare(hash[:], entries[i].hash[:]) == 1 {
			who, ok = identity{Name: entries[i].name, Role: entries[i].role}, true
		}
	}
	return who, ok && tokenForm.MatchString(token), nil
}

// current are the entries of the file as it is now. A file that became unusable lets nobody in, or taking a token back by a line with
// a mistake would leave it good.
func (t *tokens) current(ctx context.Context) ([]entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, err := os.Stat(t.path)
	if err == nil && t.read != nil && now.ModTime().Equal(t.read.ModTime()) && now.Size() == t.read.Size() &&
		now.Mode() == t.read.Mode() && os.SameFile(now, t.read) {
		return t.entries, t.broken
	}
	before := t.read
	t.read, t.entries, t.broken = nil, nil, err
	if err == nil {
		t.read = now
		t.entries, t.broken = t.load(ctx, now)
	}
	switch {
	case t.broken != nil:
		t.broken = fmt.Errorf("%w: %s: %w", errTokens, t.path, t.broken)
		t.log.LogAttrs(ctx, slog.LevelError, "nobody can use the HTTP API", slog.String("error", t.broken.Error()))
	case before != nil:
		t.log.LogAttrs(ctx, slog.LevelInfo, "read the tokens of the HTTP API again", slog.Int("tokens", len(t.entries)))
	}
	return t.entries, t.broken
}

func (t *tokens) load(ctx context.Context, info fs.FileInfo) ([]entry, error) {
	const largest = 1 << 20
	switch {
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no file")
	case info.Size() > largest:
		return nil, errors.New("it is larger than 1 MiB")
	case info.Mode()&othersWrite != 0:
		return nil, fmt.Errorf("everybody may write it: chmod 600 %s", t.path)
	case info.Mode()&othersRead != 0: // as mounted secrets are; from a hash nobody finds the token
		t.log.LogAttrs(ctx, slog.LevelWarn, "everybody on this machine may read the tokens' hashes: chmod 600 would be better", slog.String("file", t.path))
	}
	text, err := os.ReadFile(t.path)
	if err != nil {
		return nil, err
	}
	return parseTokens(string(text))
}
