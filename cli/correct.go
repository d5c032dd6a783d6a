package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/consumer"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/internal/schema"
)

// correctFlags say what an event becomes.
type correctFlags struct {
	file     string
	set      []string
	remove   []string
	expected int
	force    bool
	dry, yes bool
	by       dls.By
	output   *format
	cmd      *cobra.Command
}

func addCorrectFlags(cmd *cobra.Command) *correctFlags {
	f := &correctFlags{output: outputFlag(cmd), cmd: cmd}
	flags := cmd.Flags()
	flags.StringVar(&f.file, "file", "", "the new value is in this file, exactly; - is standard input (default: $VISUAL or $EDITOR is opened)")
	flags.StringArrayVar(&f.set, "header", nil, "the header, as tenant=acme, instead of those of this name; can be repeated")
	flags.StringArrayVar(&f.remove, "remove-header", nil, "without the headers of this name; can be repeated")
	flags.IntVar(&f.expected, "expected-version", 0, "refuse when the event has another version (default: the one that is corrected)")
	flags.BoolVar(&f.force, "force", false, "also when the value does not match the schema of its type, or is no JSON any more; the audit log shows it")
	flags.BoolVar(&f.dry, "dry-run", false, "only show what would change")
	flags.BoolVar(&f.yes, "yes", false, "do not ask after the editor")
	flags.StringVar(&f.by.Reason, "reason", "", "why, for the audit log")
	return f
}

func (f *correctFlags) check() error {
	f.by.Actor = actor()
	if strings.TrimSpace(f.by.Reason) == "" && !f.dry {
		return usagef("why? Write --reason: it goes into the audit log")
	}
	for _, text := range f.set {
		if name, _, ok := strings.Cut(text, "="); !ok || name == "" {
			return usagef("--header: %q is no header with its value: write it as tenant=acme", text)
		}
	}
	return nil
}

// subject is an event that is corrected.
type subject struct {
	name     string // "dead letter 17"
	again    string // the command to go on with: "layby dls amend 17"
	consumer string
	event    *layby.Event
	hasBytes bool // whether the event's bytes are known here
	version  int
}

// corrected is what a person made of an event.
type corrected struct {
	dls.Correction

	diff string
	kept string // the file with what they wrote in the editor; empty for none
}

// correct makes a correction of what the flags say, or of what a person writes in an editor, and shows it. Nothing is changed yet.
// Call done with the error that the correction ended with.
func (a *app) correct(ctx context.Context, cfg *config.Config, s *subject, f *correctFlags) (c *corrected, done func(error) error, err error) {
	c = &corrected{}
	version := s.version
	if f.cmd.Flags().Changed("expected-version") {
		version = f.expected
	}
	if version != s.version {
		return nil, nil, conflict(fmt.Errorf("%s is at version %d, not %d: somebody amended it meanwhile", s.name, s.version, version))
	}
	c.Expected = &version
	edited := false
	switch {
	case f.file != "":
		if c.Value, err = a.readAll(f.file); err != nil {
			return nil, nil, err
		}
	case len(f.set)+len(f.remove) == 0:
		if c.Value, c.kept, err = a.edit(ctx, s); err != nil {
			return nil, nil, err
		}
		edited = true
	}
	done = func(err error) error { return a.endOfEdit(c, s, err) }
	if err := a.prepare(cfg, s, f, c); err != nil {
		return nil, nil, done(err)
	}
	if *f.output == asTable {
		fmt.Fprint(a.stdout, c.diff)
	}
	if edited && !f.dry && !f.yes && atTerminal(a.stdin) {
		if err := a.agreed(ctx, "amend "+s.name+"?"); err != nil {
			return nil, nil, done(err)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, done(err)
	}
	return c, done, nil
}

// prepare completes and checks a correction whose value is there.
func (a *app) prepare(cfg *config.Config, s *subject, f *correctFlags, c *corrected) (err error) {
	if s.hasBytes && c.Value != nil && s.event.Value != nil && bytes.Equal(c.Value, s.event.Value) {
		c.Value = nil
	}
	if len(f.set)+len(f.remove) > 0 {
		if !s.hasBytes {
			return usagef("the headers of %s are in Kafka, and can't be corrected one by one: give the value with --file, or correct it when it is dead", s.name)
		}
		if c.Headers, err = correctHeaders(s, f); err != nil {
			return err
		}
	}
	if c.Value == nil && c.Headers == nil {
		return conflict(fmt.Errorf("%w: the event is the same as before", errUnchanged))
	}
	if err := checkValue(cfg, s, f, c); err != nil {
		return err
	}
	if consumerConfig, err := findConsumer(cfg, s.consumer); err == nil && s.hasBytes {
		after := *s.event
		if c.Value != nil {
			after.Value = c.Value
		}
		if c.Headers != nil {
			after.Headers = *c.Headers
		}
		if moved := consumer.Moved(*consumerConfig, *s.event, after); moved != "" {
			return usagef("%s can't become one of another resource: %s", s.name, printable(moved))
		}
	}
	c.diff = diffOf(s, c)
	return nil
}

// checkValue refuses a value that does not match the schema of its type, or is no JSON where it was; --force has it noted instead.
func checkValue(cfg *config.Config, s *subject, f *correctFlags, c *corrected) error {
	if c.Value == nil {
		return nil
	}
	file := ""
	if consumer, err := findConsumer(cfg, s.consumer); err == nil {
		file = consumer.Schemas[s.event.Type]
	}
	var against error
	details := map[string]any{"forced": true}
	switch {
	case file != "":
		against = schema.Check(file, c.Value)
		details["schema"] = file
	case s.hasBytes && json.Valid(s.event.Value) && !json.Valid(c.Value):
		var v any
		against = fmt.Errorf("the value is no JSON any more: %w", json.Unmarshal(c.Value, &v))
		details["json"] = false
	}
	switch {
	case against == nil:
		return nil
	case f.force:
		c.Details = details
		return nil
	}
	lines := strings.Split(against.Error(), "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return usagef("%s\n(--force amends it all the same, and the audit log shows it)", strings.Join(lines, "\n"))
}

// correctHeaders are an event's headers with those of the flags; nil when they are as before.
func correctHeaders(s *subject, f *correctFlags) (*[]layby.Header, error) {
	remove := map[string]bool{}
	for _, name := range f.remove {
		remove[name] = true
	}
	set := map[string][]layby.Header{}
	var names []string
	for _, text := range f.set {
		name, value, _ := strings.Cut(text, "=")
		if set[name] == nil {
			names = append(names, name)
		}
		if remove[name] {
			return nil, usagef("--header and --remove-header both name %s", name)
		}
		set[name] = append(set[name], layby.Header{Key: name, Value: []byte(value)})
	}
	headers, found := []layby.Header{}, map[string]bool{}
	for _, h := range s.event.Headers {
		switch {
		case remove[h.Key]:
		case set[h.Key] == nil:
			headers = append(headers, h)
		case !found[h.Key]:
			headers = append(headers, set[h.Key]...)
		}
		found[h.Key] = true
	}
	for _, name := range names {
		if !found[name] {
			headers = append(headers, set[name]...)
		}
	}
	for _, name := range f.remove {
		if !found[name] {
			return nil, usagef("--remove-header: %s has no header %s", s.name, name)
		}
	}
	if sameHeaders(headers, s.event.Headers) {
		return nil, nil //nolint:nilnil // no change, and nothing wrong
	}
	return &headers, nil
}

func sameHeaders(a, b []layby.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Key != b[i].Key || !bytes.Equal(a[i].Value, b[i].Value) || (a[i].Value == nil) != (b[i].Value == nil) {
			return false
		}
	}
	return true
}
