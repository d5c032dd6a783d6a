package dls

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// octets are bytes as an export writes them: a text, {"base64": "..."} where they are none, null for nil.
type octets []byte

// MarshalJSON writes them.
func (o octets) MarshalJSON() ([]byte, error) {
	switch {
	case o == nil:
		return []byte("null"), nil
	case utf8.Valid(o):
		return marshal(string(o))
	}
	return json.Marshal(map[string][]byte{"base64": o})
}

var errOctets = errors.New(`bytes are written as a text, as {"base64": "..."}, or as null`)

// UnmarshalJSON reads what MarshalJSON wrote.
func (o *octets) UnmarshalJSON(text []byte) error {
	switch text[0] {
	case 'n':
		*o = nil
		return nil
	case '"':
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return err
		}
		*o = octets(s)
		return nil
	case '{':
		var v struct {
			Base64 *[]byte `json:"base64"`
		}
		if err := strictly(text, &v); err == nil && v.Base64 != nil {
			*o = octets(*v.Base64)
			return nil
		}
	}
	return errOctets
}

// marshal is json.Marshal without escapes for the sake of HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
