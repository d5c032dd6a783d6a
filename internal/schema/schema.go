// Package schema checks values against the JSON Schema that the configuration sets for an event type.
package schema

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Mismatch says how a value differs from what its schema asks for. Its text has parts of the value.
type Mismatch struct {
	File     string
	Problems []string // each in one line; the first twenty
}

func (m *Mismatch) Error() string {
	return "the value is not what " + m.File + " asks for:\n" + strings.Join(m.Problems, "\n")
}

const (
	mostProblems   = 20
	longestProblem = 300 // characters
)

// Check checks a value against the schema in a file, which is read each time, with the files that it refers to. A value that does
// not match is a *Mismatch; all other errors are of the schema.
func Check(file string, value []byte) error {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	compiled, err := c.Compile(file)
	if err != nil {
		return fmt.Errorf("schema %s: %w", file, err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return &Mismatch{File: file, Problems: []string{shortened("it is no JSON: " + err.Error())}}
	}
	var invalid *jsonschema.ValidationError
	switch err := compiled.Validate(v); {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		return &Mismatch{File: file, Problems: problems(invalid)}
	default:
		return fmt.Errorf("schema %s: %w", file, err)
	}
}

// problems are the lines of an error but the first, which names the schema.
func problems(err *jsonschema.ValidationError) []string {
	_, text, ok := strings.Cut(err.Error(), "\n")
	if !ok {
		text = err.Error()
	}
	var list []string
	for line := range strings.Lines(text) {
		if len(list) == mostProblems {
			return append(list, "and more")
		}
		list = append(list, shortened(strings.TrimRight(line, "\n")))
	}
	return list
}

func shortened(text string) string {
	if runes := []rune(text); len(runes) > longestProblem {
		return string(runes[:longestProblem-1]) + "…"
	}
	return text
}
