package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/layby-go/layby/internal/harmless"
)

// format is how a list is written.
type format string

const (
	asTable format = "table"
	asJSON  format = "json"
	asJSONL format = "jsonl" // a line an element
)

// choice is a flag with one of several values.
type choice[T ~string] struct {
	value   *T
	choices []T
}

// String, Set and Type make choice a flag.
func (c choice[T]) String() string {
	if c.value == nil { // pflag asks a zero one
		return ""
	}
	return string(*c.value)
}

// Set reads the flag.
func (c choice[T]) Set(value string) error {
	if !slices.Contains(c.choices, T(value)) {
		return fmt.Errorf("write %s, not %q", strings.Join(c.names(), " or "), value)
	}
	*c.value = T(value)
	return nil
}

// Type names the flag's values.
func (c choice[T]) Type() string { return strings.Join(c.names(), "|") }

func (c choice[T]) names() []string {
	names := make([]string, len(c.choices))
	for i, v := range c.choices {
		names[i] = string(v)
	}
	return names
}

// outputFlag adds -o to a command: table or json, or the formats that are given.
func outputFlag(cmd *cobra.Command, formats ...format) *format {
	if len(formats) == 0 {
		formats = []format{asTable, asJSON}
	}
	f := asTable
	cmd.Flags().VarP(choice[format]{&f, formats}, "output", "o", "how to write the result")
	return &f
}

func writeJSON(w io.Writer, v any) error { return encodeJSON(w, v, "  ") }

// writeJSONL writes each element on a line of its own.
func writeJSONL[T any](w io.Writer, list []T) error {
	for _, v := range list {
		if err := encodeJSON(w, v, ""); err != nil {
			return err
		}
	}
	return nil
}

func encodeJSON(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", indent)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, harmless.JSON(b.String()))
	return err
}

// writeTable writes rows under a header, in columns that a person and a script can read.
func writeTable(w io.Writer, header []string, rows [][]string) error {
	t := table.NewWriter()
	t.SetStyle(table.Style{
		Name:    "layby",
		Box:     table.BoxStyle{MiddleVertical: " ", PaddingRight: " "},
		Format:  table.FormatOptions{Header: text.FormatUpper},
		Options: table.Options{SeparateColumns: true},
	})
	t.AppendHeader(row(header))
	for _, r := range rows {
		t.AppendRow(row(r))
	}
	for line := range strings.Lines(t.Render() + "\n") {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

func row(cells []string) table.Row {
	r := make(table.Row, len(cells))
	for i, cell := range cells {
		r[i] = printable(cell)
	}
	return r
}

// printable returns a text that does no harm to a terminal: as it is, or quoted when it has bytes that don't print.
func printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// shortened cuts a text for a table's cell.
func shortened(s string, length int) string {
	runes := []rune(s)
	if len(runes) <= length {
		return s
	}
	return string(runes[:length-1]) + "…"
}

// moment formats a time; a zero one is empty.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
