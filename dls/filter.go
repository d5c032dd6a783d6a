package dls

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
)

// ErrFilter says that a filter, or a cursor beside it, cannot be used; the error around it says why.
var ErrFilter = errors.New("the filter cannot be used")

// Filter selects letters that are all it says; the zero value selects all.
type Filter struct {
	Consumer    string
	Resource    *string // an empty one is a resource too
	Type        string
	Class       string
	Fingerprint string
	Correlation string       // of a header correlation-id or the like, up to 256 characters; see the SQL function correlation_id
	Text        string       // in the error's text, in any case
	Headers     []HeaderTest // all of them
	JSON        []JSONTest   // all of them
	Since       time.Time    // failed then or later
	Until       time.Time    // failed before
	States      []State      // one of them; none stands for any
	Amended     *bool        // whether its bytes were amended
}

// HeaderTest is a header that a record has to have, name and value exactly.
type HeaderTest struct{ Name, Value string }

// ParseHeaderTest reads name=value; the value may be empty.
func ParseHeaderTest(text string) (HeaderTest, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return HeaderTest{}, fmt.Errorf("%q is no header with its value: write it as tenant=acme", text)
	}
	return HeaderTest{Name: name, Value: value}, nil
}

// readable is the test as the column headers shows such a header.
func (h HeaderTest) readable() string {
	return columns.ReadableHeaders([]layby.Header{{Key: h.Name, Value: []byte(h.Value)}})
}

// JSONTest is what a value has to be like, as JSON: either what a pointer leads to is Value, or the SQL/JSON path Path is true or
// finds something. A value that is no JSON passes none.
type JSONTest struct {
	Pointer []string `json:",omitempty"`
	Value   string   `json:",omitempty"` // a text, or a number, true, false, or an object as JSON
	Path    string   `json:",omitempty"` // "$.total > 100", or "$.lines[*] ? (@.sku == 7)"
}

// ParseJSONTest reads /card/brand=visa, a JSON pointer with the value that it leads to, or an SQL/JSON path, which begins with $.
func ParseJSONTest(text string) (JSONTest, error) {
	if strings.HasPrefix(text, "$") {
		return JSONTest{Path: text}, nil
	}
	pointer, value, ok := strings.Cut(text, "=")
	if !ok || !strings.HasPrefix(pointer, "/") {
		return JSONTest{}, fmt.Errorf("%q is no test of JSON: write a pointer with a value, as /card/brand=visa, or an SQL/JSON path, as '$.total > 100'", text)
	}
	parts := strings.Split(pointer[1:], "/")
	for i, p := range parts {
		parts[i] = columns.Text(strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~"), 0)
	}
	return JSONTest{Pointer: parts, Value: value}, nil
}

// key is the same for filters that differ in nothing but their times: a page ends elsewhere with others, and goes on in the same
// order.
func (f *Filter) key() string {
	g := *f
	g.Since, g.Until = time.Time{}, time.Time{}
	g.States = slices.Sorted(slices.Values(f.states()))
	return keyOf(g)
}

// keyOf names a filter: strings, numbers, and slices of them.
func keyOf(filter any) string {
	text, err := json.Marshal(filter)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}

// states are the states that the filter selects, each once.
func (f *Filter) states() []State {
	var states []State
	for _, s := range States() {
		if len(f.States) == 0 || slices.Contains(f.States, s) {
			states = append(states, s)
		}
	}
	return states
}
