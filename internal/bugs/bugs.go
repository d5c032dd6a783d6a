// Package bugs breaks one rule of the code at a time, on purpose, to see that a test finds it.
package bugs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Bug is one rule broken: a file says what it breaks, in which scope it is found, and which lines become which. Lines that
// are no longer there, exactly once, are an error: the bug has to be mended then.
type Bug struct {
	Name  string
	What  string // the rule, and how it is broken
	Scope string // where it is found, in words of the test that looks for it
	hunks []hunk
}

type hunk struct{ file, from, to string }

// Read reads a bug from a file: what it breaks, "scope: " and the scope, and changes. Each is "--- " and the name of a file,
// relative to the working directory, the lines that are there, "+++", and the lines that come in their place.
func Read(file string) (*Bug, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	head, rest, found := strings.Cut(string(text), "\n--- ")
	if !found {
		return nil, fmt.Errorf("%s: there is no change", file)
	}
	b := &Bug{Name: strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))}
	b.What, b.Scope, found = strings.Cut(head, "\nscope: ")
	if !found {
		return nil, fmt.Errorf("%s: there is no scope", file)
	}
	for part := range strings.SplitSeq(rest, "\n--- ") {
		name, change, _ := strings.Cut(part, "\n")
		from, to, found := strings.Cut(change, "+++\n")
		if !found {
			return nil, fmt.Errorf("%s: %s becomes what?", file, name)
		}
		if strings.HasSuffix(from, "\n") && to != "" && !strings.HasSuffix(to, "\n") {
			to += "\n" // the end of the line was cut off with the next change
		} else if !strings.HasSuffix(from, "\n") {
			to = strings.TrimSuffix(to, "\n") // the change ends within a line
		}
		b.hunks = append(b.hunks, hunk{name, from, to})
	}
	return b, nil
}

// Overlay writes the changed files into a directory, and the list of them that `go test -overlay` takes, whose path it
// returns.
func (b *Bug) Overlay(dir string) (string, error) {
	changed := map[string]string{}
	for _, h := range b.hunks {
		src := changed[h.file]
		if src == "" {
			text, err := os.ReadFile(h.file)
			if err != nil {
				return "", err
			}
			src = string(text)
		}
		if n := strings.Count(src, h.from); n != 1 {
			return "", fmt.Errorf("%s: these lines are %d times in %s, mend the bug:\n%s", b.Name, n, h.file, h.from)
		}
		changed[h.file] = strings.Replace(src, h.from, h.to, 1)
	}
	replace := map[string]string{}
	for file, src := range changed {
		path, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d-%s", len(replace), filepath.Base(file)))
		if err := os.WriteFile(replace[path], []byte(src), 0o600); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}
