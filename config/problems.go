package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong or doubtful in a configuration.
type Problem struct {
	Where string // file:line:column, the environment variable's name, or the file's name
	Key   string // the value's path, such as consumers[0].heartbeat; empty for the file itself
	Text  string // what is wrong and what to write instead
}

// String returns the problem as one line.
func (p Problem) String() string {
	if p.Key == "" {
		return p.Where + ": " + p.Text
	}
	return p.Where + ": " + p.Key + ": " + p.Text
}

// Problems is the error of Load: all that is wrong, in the order of the file, the environment's last.
type Problems []Problem

// Error returns one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// origin is where a value was written.
type origin struct {
	env       string // the variable's name; the rest is unused then
	line, col int    // of the value
	keyLine   int    // of its key; the same place as the value for a list's item
	keyCol    int
}

// report collects problems. Paths say where each belongs.
type report struct {
	file     string
	origins  map[string]origin
	failed   map[string]bool // paths with a problem: nothing more is checked there
	problems []placed
	warnings []placed
}

type placed struct {
	Problem
	at origin
}

func newReport(file string) *report {
	return &report{file: file, origins: map[string]origin{}, failed: map[string]bool{}}
}

// fail notes a problem with the value at path.
func (r *report) fail(path, format string, args ...any) {
	r.failed[path] = true
	r.problems = append(r.problems, r.place(path, false, fmt.Sprintf(format, args...)))
}

// failKey notes a problem with the key at path.
func (r *report) failKey(path, format string, args ...any) {
	r.failed[path] = true
	r.problems = append(r.problems, r.place(path, true, fmt.Sprintf(format, args...)))
}

// warn notes something doubtful about the value at path.
func (r *report) warn(path, format string, args ...any) {
	r.warnings = append(r.warnings, r.place(path, false, fmt.Sprintf(format, args...)))
}

// failAt notes a problem that belongs to no value.
func (r *report) failAt(where origin, format string, args ...any) {
	p := Problem{Where: r.file, Text: fmt.Sprintf(format, args...)}
	switch {
	case where.env != "":
		p.Where = where.env
	case where.line > 0:
		p.Where = fmt.Sprintf("%s:%d:%d", r.file, where.line, where.col)
	}
	r.problems = append(r.problems, placed{Problem: p, at: where})
}

// ok says that nothing is known to be wrong at these paths, above or below them.
func (r *report) ok(paths ...string) bool {
	for failed := range r.failed {
		for _, path := range paths {
			if failed == path || within(failed, path) || within(path, failed) {
				return false
			}
		}
	}
	return true
}

// place finds where the value at path, or the nearest section around it, was written.
func (r *report) place(path string, key bool, text string) placed {
	p := placed{Problem: Problem{Where: r.file, Key: path, Text: text}}
	at, known := r.origins[path]
	for !known && path != "" {
		path = parent(path)
		at, known = r.origins[path]
	}
	p.at = at
	switch {
	case at.env != "":
		p.Where = at.env
	case at.line == 0:
	case key:
		p.at.line, p.at.col = at.keyLine, at.keyCol
		fallthrough
	default:
		p.Where = fmt.Sprintf("%s:%d:%d", r.file, p.at.line, p.at.col)
	}
	return p
}

// sorted returns problems in the order of the file, those of environment variables last.
func sorted(list []placed) []Problem {
	slices.SortStableFunc(list, func(a, b placed) int {
		return cmp.Or(
			cmp.Compare(a.at.env, b.at.env), // "" first: the file
			cmp.Compare(a.at.line, b.at.line),
			cmp.Compare(a.at.col, b.at.col),
			cmp.Compare(a.Key, b.Key),
		)
	})
	var out []Problem
	for _, p := range list {
		out = append(out, p.Problem)
	}
	return out
}

// Paths are keys joined by dots, list items in brackets: consumers[0].retry.tiers[1].

func child(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

// within says that path lies below section.
func within(path, section string) bool {
	return len(path) > len(section) && strings.HasPrefix(path, section) &&
		(section == "" || path[len(section)] == '.' || path[len(section)] == '[')
}
