package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"

	"github.com/knadh/koanf/v2"
)

// Option changes how a configuration is checked.
type Option func(*options)

type options struct {
	handlers      []string
	checkHandlers bool
}

// Handlers names the handlers that the program registered. A route to any other name is a problem.
func Handlers(names ...string) Option {
	return func(o *options) { o.handlers, o.checkHandlers = names, true }
}

// Load reads the file at path, lays the variables of environ (in the form of os.Environ) over it, adds the defaults
// and checks everything. The warnings are doubts that don't keep a program from running; the error is a Problems.
func Load(path string, environ []string, opts ...Option) (*Config, []Problem, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, nil, Problems{{Where: path, Text: err.Error()}}
	}
	return Parse(path, text, environ, opts...)
}

// Parse is Load for a file that was read already; name stands in the places of problems.
func Parse(name string, text []byte, environ []string, opts ...Option) (*Config, []Problem, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	r := newReport(name)
	data, err := layers(r, text, environ)
	if err != nil {
		return nil, nil, Problems{{Where: name, Text: err.Error()}}
	}
	if len(r.problems) > 0 && len(data) == 0 { // a syntax error: everything else would follow from it
		return nil, nil, Problems(sorted(r.problems))
	}
	cfg := &Config{}
	(&decoder{report: r}).section("", data, reflect.ValueOf(cfg).Elem())
	validate(cfg, r, o)
	if len(r.problems) > 0 {
		return nil, sorted(r.warnings), Problems(sorted(r.problems))
	}
	return cfg, sorted(r.warnings), nil
}

// layers merges the file and the environment.
func layers(r *report, text []byte, environ []string) (map[string]any, error) {
	k := koanf.New(pathSep)
	if err := k.Load(content(text), &tree{report: r}); err != nil {
		return nil, err
	}
	if len(r.problems) > 0 && len(k.Raw()) == 0 {
		return nil, nil
	}
	over := newOverlay(r)
	if err := k.Load(over.provider(environ), nil, koanf.WithMergeFunc(over.merge)); err != nil {
		return nil, err
	}
	return k.Raw(), nil
}

// content is a file that was read, as a provider for koanf.
type content []byte

// ReadBytes returns the text.
func (c content) ReadBytes() ([]byte, error) { return c, nil }

// Read is unused: the text needs a parser.
func (c content) Read() (map[string]any, error) {
	return nil, errors.New("config: a file needs a parser")
}

// readFile reads a configuration file, and explains in one sentence why it can't.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("there is no such file: write it, or name another one with --config")
	}
	if err != nil {
		return nil, fmt.Errorf("can't be opened: %w", unwrapPath(err))
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", unwrapPath(err))
	}
	return text, nil
}

// unwrapPath takes the path out of an error whose text gets the path anyway.
func unwrapPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
