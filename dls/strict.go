package dls

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

const deepest = 20 // levels; an export has a few

// strictly reads one JSON value and nothing behind it. Unknown fields are refused, and so are those that come twice.
func strictly(text []byte, to any) error {
	if err := twice(text); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		return plainly(err)
	}
	return nil
}

// twice finds a field that comes twice in an object: encoding/json takes the last one. It also refuses names that are not written
// as those of an export, since encoding/json takes them in any case.
func twice(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	type level struct {
		object bool
		key    bool // a key is next
		seen   map[string]bool
	}
	var open []level
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) && len(open) == 0 {
			return nil
		}
		if err != nil {
			return plainly(err)
		}
		if n := len(open); n > 0 && open[n-1].object && open[n-1].key {
			if name, ok := token.(string); ok {
				switch {
				case name != strings.ToLower(name) || strings.ContainsFunc(name, func(r rune) bool { return r > '~' }):
					return fmt.Errorf("unknown field %.100q", name)
				case open[n-1].seen[name]:
					return fmt.Errorf("the field %.100q comes twice", name)
				}
				open[n-1].seen[name] = true
				open[n-1].key = false
				continue
			}
		}
		switch delim, ok := token.(json.Delim); {
		case !ok:
		case delim == '{', delim == '[':
			if len(open) == deepest {
				return fmt.Errorf("there is something in the %dth level", deepest)
			}
			open = append(open, level{object: delim == '{', key: delim == '{', seen: map[string]bool{}})
			continue
		default:
			open = open[:len(open)-1]
		}
		switch n := len(open); {
		case n > 0:
			open[n-1].key = open[n-1].object
		case dec.InputOffset() < int64(len(bytes.TrimRight(text, " \t\r\n"))):
			return errors.New("there is something behind the object")
		}
	}
}

// plainly is an error of encoding/json for people.
func plainly(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "unexpected end of JSON input") {
		return errors.New("it is cut off: the object does not end")
	}
	return errors.New(strings.ReplaceAll(strings.TrimPrefix(err.Error(), "json: "), "Go struct field ", ""))
}
