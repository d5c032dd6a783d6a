package config

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxFile bounds the file, so that a wrong path (a device, a log) is refused instead of read into memory.
	maxFile = 256 << 10
	// maxNodes bounds what aliases can blow a small file up to.
	maxNodes = 10_000
	// maxDepth bounds how deep brackets nest; the file's own sections need 7.
	maxDepth = 50
)

// tree turns YAML into nested map[string]any, []any and text, and notes in the report where each value was written.
// Scalars stay the text that stands in the file: what they mean is the business of the value's type, so that 0123 can
// be a password and an environment variable reads like the file. A null is nil.
type tree struct {
	report  *report
	env     string // the variable that holds the text; empty for the file
	anchors map[string]ast.Node
	nodes   int
}

// Unmarshal and Marshal make tree a koanf.Parser. Problems go to the report, never into the error.
func (t *tree) Unmarshal(text []byte) (map[string]any, error) {
	value := t.parse("", text)
	if value == nil {
		return map[string]any{}, nil
	}
	root, ok := value.(map[string]any)
	if !ok {
		t.report.failAt(origin{env: t.env, line: 1, col: 1}, "want sections such as kafka: and consumers:, not %s", describe(value))
		return map[string]any{}, nil
	}
	return root, nil
}

// Marshal is unused: Print writes the effective configuration.
func (t *tree) Marshal(map[string]any) ([]byte, error) {
	return nil, errors.New("config: marshal is not supported")
}

// parse reads one YAML document whose root is the value at path.
func (t *tree) parse(path string, text []byte) any {
	if len(text) > maxFile {
		t.report.failAt(origin{env: t.env}, "is larger than %d KiB: this is no configuration file", maxFile>>10)
		return nil
	}
	if !utf8.Valid(text) {
		t.report.failAt(origin{env: t.env}, "is no UTF-8 text")
		return nil
	}
	if at := tooDeep(text); at.line > 0 {
		at.env = t.env
		t.report.failAt(at, "brackets nest deeper than %d levels", maxDepth)
		return nil
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		t.syntaxError(err)
		return nil
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			bodies = append(bodies, doc.Body)
		}
	}
	if len(bodies) == 0 {
		return nil
	}
	if len(bodies) > 1 {
		t.report.failAt(t.at(firstToken(bodies[1])), "a second document starts here: write one document, without ---")
	}
	t.anchors = map[string]ast.Node{}
	return t.value(path, bodies[0])
}

// tooDeep finds the place where more brackets are open than any configuration needs. Brackets in text count too, which
// does no harm at this bound.
func tooDeep(text []byte) origin {
	depth, line, col := 0, 1, 0
	for _, c := range text {
		col++
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		case '\n':
			line, col = line+1, 0
		}
		if depth > maxDepth {
			return origin{line: line, col: col}
		}
	}
	return origin{}
}

func (t *tree) syntaxError(err error) {
	var syntax yaml.Error
	if errors.As(err, &syntax) && syntax.GetToken() != nil {
		t.report.failAt(t.at(syntax.GetToken()), "%s", syntax.GetMessage())
		return
	}
	t.report.failAt(origin{env: t.env}, "%v", err)
}

func (t *tree) at(tk *token.Token) origin {
	if t.env != "" || tk == nil || tk.Position == nil {
		return origin{env: t.env}
	}
	p := tk.Position
	return origin{line: p.Line, col: p.Column, keyLine: p.Line, keyCol: p.Column}
}

// value converts a node. It returns nil for a null and for what was reported.
func (t *tree) value(path string, n ast.Node) any {
	if t.nodes++; t.nodes > maxNodes {
		if t.nodes == maxNodes+1 {
			t.report.failAt(t.at(n.GetToken()), "aliases make this larger than %d values", maxNodes)
		}
		return nil
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return t.mapping(path, n.Values)
	case *ast.MappingValueNode:
		return t.mapping(path, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		return t.list(path, n)
	case *ast.AnchorNode:
		value := t.value(path, n.Value)
		t.anchors[n.Name.GetToken().Value] = n.Value
		return value
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		target, ok := t.anchors[name]
		if !ok {
			t.report.failAt(t.at(n.GetToken()), "no anchor &%s stands above this alias", name)
			return nil
		}
		return t.value(path, target)
	case *ast.NullNode, nil:
		return nil
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value
	default:
		t.report.failAt(t.at(n.GetToken()), "%s is not supported here", n.Type())
		return nil
	}
}

func (t *tree) list(path string, n *ast.SequenceNode) any {
	values := make([]any, 0, len(n.Values))
	for _, v := range n.Values {
		p := item(path, len(values))
		t.place(p, v, v)
		var value any
		if text, ok := colonText(v); ok {
			value = text
		} else if value = t.value(p, v); value == nil {
			continue // an empty item
		}
		values = append(values, value)
	}
	return values
}

// colonText returns the text of an item such as localhost:9092. YAML reads a colon inside a word as a part of it; the
// parser takes such an item of a list within braces for a mapping.
func colonText(n ast.Node) (string, bool) {
	m, ok := n.(*ast.MappingNode)
	if !ok || m.IsFlowStyle || len(m.Values) != 1 {
		return "", false
	}
	key, colon, value := m.Values[0].Key.GetToken(), m.Values[0].Start, m.Values[0].Value.GetToken()
	if !isPlain(key) || !isPlain(value) || value.Position.Line != colon.Position.Line || value.Position.Offset != colon.Position.Offset+1 {
		return "", false
	}
	return key.Value + ":" + value.Value, true
}

// isPlain says that a token is a scalar without quotes.
func isPlain(tk *token.Token) bool {
	return tk != nil && tk.CharacterType == token.CharacterTypeMiscellaneous && tk.Type != token.NullType
}

// mapping converts a section. Merged sections (<<) come first, so that its own keys replace theirs.
func (t *tree) mapping(path string, values []*ast.MappingValueNode) any {
	out := map[string]any{}
	merged := false
	for _, v := range values {
		if v.Key.IsMergeKey() {
			t.merge(path, v.Value, out)
			merged = true
		}
	}
	for _, v := range values {
		if v.Key.IsMergeKey() {
			continue
		}
		key, err := keyText(v.Key)
		if err != nil {
			t.report.failAt(t.at(v.Key.GetToken()), "%v", err)
			continue
		}
		p := child(path, key)
		if merged {
			t.report.forget(p)
		}
		t.place(p, v.Key, v.Value)
		out[key] = t.value(p, v.Value)
	}
	return out
}

func (t *tree) merge(path string, n ast.Node, into map[string]any) {
	merged := t.value(path, n)
	sections, ok := merged.([]any)
	if !ok {
		sections = []any{merged}
	}
	for _, s := range sections {
		section, ok := s.(map[string]any)
		if !ok && s != nil {
			t.report.failAt(t.at(n.GetToken()), "<< takes an alias of a section")
		}
		for key, value := range section {
			if _, there := into[key]; !there {
				into[key] = value
			}
		}
	}
}

func keyText(n ast.MapKeyNode) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	}
	return "", fmt.Errorf("a key is plain text, not %s", n.Type())
}

// place notes where the value at path was written. A section's problems are shown at its key.
func (t *tree) place(path string, key, value ast.Node) {
	k, v := t.at(firstToken(key)), t.at(firstToken(value))
	switch value.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode, *ast.NullNode:
		v = k
	}
	t.report.origins[path] = origin{env: t.env, line: v.line, col: v.col, keyLine: k.line, keyCol: k.col}
}

// firstToken returns the token that a node starts with: that of a section is its first key's, not the colon.
func firstToken(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	}
	return n.GetToken()
}

// forget drops what is known about a value that another one replaces.
func (r *report) forget(path string) {
	for p := range r.origins {
		if p == path || within(p, path) {
			delete(r.origins, p)
		}
	}
}

// describe names the shape of a value, for people.
func describe(value any) string {
	switch v := value.(type) {
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	case string:
		if v == "" {
			return "an empty text"
		}
		return "a text"
	}
	return "nothing"
}
