package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// edit has a person change a value in their editor, and returns it with the file that it is in. JSON in one line is shown in several
// and taken back into one: nothing but what they changed is another one.
func (a *app) edit(ctx context.Context, s *subject) (value []byte, file string, err error) {
	old := s.event.Value
	switch {
	case !s.hasBytes:
		return nil, "", usagef("the value of %s is in Kafka, not here: give the new one with --file", s.name)
	case !utf8.Valid(old) || bytes.IndexByte(old, 0) >= 0:
		return nil, "", usagef("the value of %s is no text: give the new one with --file", s.name)
	}
	shown, compact := old, isCompact(old)
	if compact {
		var b bytes.Buffer
		_ = json.Indent(&b, old, "", "  ") // it is JSON
		shown = append(b.Bytes(), '\n')
	}
	dir, err := os.MkdirTemp("", "layby-") // which nobody else can enter
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	file = filepath.Join(dir, strings.ReplaceAll(s.name, " ", "-")+extension(old))
	if err := os.WriteFile(file, shown, 0o600); err != nil {
		return nil, "", err
	}
	if err := a.openEditor(ctx, file); err != nil {
		return nil, "", err
	}
	text, err := os.ReadFile(file) //nolint:gosec // our own
	switch {
	case err != nil:
		return nil, "", err
	case bytes.Equal(text, shown):
		return nil, file, nil
	}
	if compact {
		var b bytes.Buffer
		if json.Compact(&b, text) == nil {
			text = b.Bytes()
		}
	} else if !bytes.HasSuffix(old, []byte("\n")) { // which editors add
		text = bytes.TrimSuffix(text, []byte("\n"))
	}
	if text == nil {
		text = []byte{}
	}
	return text, file, os.WriteFile(file, text, 0o600)
}

func extension(value []byte) string {
	if json.Valid(value) {
		return ".json"
	}
	return ".txt"
}

// isCompact says that a value is JSON as its compact form is.
func isCompact(value []byte) bool {
	var b bytes.Buffer
	return json.Compact(&b, value) == nil && bytes.Equal(b.Bytes(), value)
}

// editorStops is how long an editor may take to end when the command is stopped.
const editorStops = 5 * time.Second

// openEditor opens a file in the person's editor and waits until they leave it.
func (a *app) openEditor(ctx context.Context, file string) error {
	editor := a.variable("VISUAL")
	if editor == "" {
		editor = a.variable("EDITOR")
	}
	if editor == "" {
		return usagef("which editor? Set EDITOR, or give the new value with --file")
	}
	line := editor + ` "$@"`
	if first, _, _ := strings.Cut(strings.TrimSpace(editor), " "); !strings.Contains(first, "=") { // a signal reaches the editor then
		line = "exec " + line
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", line, editor, file) //nolint:gosec // a person's own setting, which may have arguments
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stderr, a.stderr // standard output is the command's result
	if atTerminal(a.stdout) {
		cmd.Stdout = a.stdout
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it leaves the terminal in order
	cmd.WaitDelay = editorStops
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", errUnchanged, ctx.Err())
	case err != nil:
		return fmt.Errorf("%w: the editor %s ended with %w", errUnchanged, printable(editor), err)
	}
	return nil
}

// variable is a variable of the environment.
func (a *app) variable(name string) string {
	for _, v := range a.environ {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// endOfEdit removes the file of an edit, or, where what was written could get lost, keeps it and says so.
func (a *app) endOfEdit(c *corrected, s *subject, err error) error {
	wanted := err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, errUnchanged)
	if c.kept == "" {
		return err
	}
	if !wanted {
		_ = os.RemoveAll(filepath.Dir(c.kept))
		return err
	}
	return &exitError{exitCodeOf(err), fmt.Errorf("%w\n(what you wrote is kept in %s; to go on from there: %s --file %[2]s)", err, c.kept, s.again)}
}

// readAll reads a file, or standard input for -.
func (a *app) readAll(name string) ([]byte, error) {
	from, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	data, err := io.ReadAll(io.LimitReader(from, longestValue+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case len(data) > longestValue:
		return nil, usagef("%s has more than %d MiB: that is no value of an event", name, longestValue>>20)
	}
	return data, nil
}

const longestValue = 64 << 20 // bytes
