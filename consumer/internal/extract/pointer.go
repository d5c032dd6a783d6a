package extract

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/layby-go/layby/config"
)

// pointer is a JSON pointer (RFC 6901), taken apart. It is nil for selectors of another kind.
type pointer []string

func newPointer(sel config.Selector) pointer {
	if sel.From != config.FromJSON {
		return nil
	}
	steps := strings.Split(strings.TrimPrefix(sel.Name, "/"), "/")
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for i := range steps {
		steps[i] = unescape.Replace(steps[i])
	}
	return steps
}

var (
	errNotJSON   = errors.New("the value is no valid JSON")
	errNotThere  = errors.New("the field is missing")
	errNotScalar = errors.New("the field is null, an object or an array")
)

// find returns the text of the field: of a string its characters, of a number, true or false what stands there. Of
// fields with the same name the first counts. What follows the field is not looked at.
func (p pointer) find(doc []byte) (string, error) {
	s := scanner{doc: doc}
	for _, step := range p {
		if err := s.enter(step); err != nil {
			return "", err
		}
	}
	s.space()
	switch c := s.peek(); c {
	case '"':
		raw, err := s.text()
		if err != nil {
			return "", err
		}
		return unquote(raw)
	case '{', '[', 'n':
		return "", errNotScalar
	default:
		raw, err := s.literal()
		return string(raw), err
	}
}

// unquote decodes a JSON string with its quotes.
func unquote(raw []byte) (string, error) {
	if plain(raw) {
		return string(raw[1 : len(raw)-1]), nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", errNotJSON
	}
	return text, nil
}

// names says whether a JSON string stands for name.
func names(raw []byte, name string) (bool, error) {
	if plain(raw) {
		return string(raw[1:len(raw)-1]) == name, nil
	}
	text, err := unquote(raw)
	return text == name, err
}

// plain says that a JSON string stands for its own bytes.
func plain(raw []byte) bool {
	for _, c := range raw {
		if c == '\\' || c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// scanner reads JSON from left to right. It keeps no stack, so that depth costs nothing.
type scanner struct {
	doc []byte
	pos int
}

// peek returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.doc) {
		return s.doc[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.doc) {
		switch s.doc[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// enter moves to the value called name (of an object) or numbered name (of an array).
func (s *scanner) enter(name string) error {
	s.space()
	switch s.peek() {
	case '{':
		return s.enterObject(name)
	case '[':
		return s.enterArray(name)
	}
	if err := s.skip(); err != nil {
		return err
	}
	return errNotThere // a value that has no fields
}

func (s *scanner) enterObject(name string) error {
	s.pos++
	for first := true; ; first = false {
		s.space()
		switch c := s.peek(); {
		case c == '}':
			return errNotThere
		case c == ',' && !first:
			s.pos++
			s.space()
		case !first:
			return errNotJSON
		}
		raw, err := s.text()
		if err != nil {
			return err
		}
		s.space()
		if s.peek() != ':' {
			return errNotJSON
		}
		s.pos++
		if same, err := names(raw, name); same || err != nil {
			return err
		}
		if err := s.skip(); err != nil {
			return err
		}
	}
}

func (s *scanner) enterArray(index string) error {
	want, err := strconv.Atoi(index)
	if err != nil || want < 0 || strconv.Itoa(want) != index {
		return errNotThere
	}
	s.pos++
	for i := 0; ; i++ {
		s.space()
		switch c := s.peek(); {
		case c == ']':
			return errNotThere
		case c == ',' && i > 0:
			s.pos++
			s.space()
		case i > 0:
			return errNotJSON
		}
		if i == want {
			return nil
		}
		if err := s.skip(); err != nil {
			return err
		}
	}
}

// text reads a string with its quotes.
func (s *scanner) text() ([]byte, error) {
	if s.peek() != '"' {
		return nil, errNotJSON
	}
	for i := s.pos + 1; i < len(s.doc); i++ {
		switch s.doc[i] {
		case '\\':
			i++
		case '"':
			raw := s.doc[s.pos : i+1]
			s.pos = i + 1
			return raw, nil
		}
	}
	return nil, errNotJSON
}

// literal reads a number, true or false.
func (s *scanner) literal() ([]byte, error) {
	start := s.pos
	for s.pos < len(s.doc) && !strings.ContainsRune(" \t\r\n,]}:", rune(s.doc[s.pos])) {
		s.pos++
	}
	raw := s.doc[start:s.pos]
	if len(raw) == 0 || raw[0] == '"' || !json.Valid(raw) {
		return nil, errNotJSON
	}
	return raw, nil
}

// skip passes over one value of any kind, as far as brackets and strings tell where it ends.
func (s *scanner) skip() error {
	for depth := 0; ; {
		s.space()
		switch s.peek() {
		case '"':
			if _, err := s.text(); err != nil {
				return err
			}
		case '{', '[':
			depth++
			s.pos++
		case '}', ']':
			depth--
			s.pos++
		case ',', ':':
			if depth == 0 {
				return errNotJSON
			}
			s.pos++
		case 0:
			return errNotJSON
		default:
			if _, err := s.literal(); err != nil {
				return err
			}
		}
		if depth < 0 {
			return errNotJSON
		}
		if depth == 0 {
			return nil
		}
	}
}
