package admin

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/internal/columns"
)

// Bytes are bytes in JSON: a text, or {"base64": "..."} where they are none.
type Bytes []byte

// NullBytes are Bytes, or null for nil.
type NullBytes []byte

var errBytes = errors.New(`write a text, or bytes as {"base64": "..."}`)

// MarshalJSON writes a text, or an object with the base64 form.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string][]byte{"base64": b})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	var text *string
	if json.Unmarshal(data, &text) == nil && text != nil {
		*b = append(Bytes{}, *text...)
		return nil
	}
	var object struct {
		Base64 *string `json:"base64"`
	}
	if json.Unmarshal(data, &object) != nil || object.Base64 == nil {
		return errBytes
	}
	bytes, err := decode64(*object.Base64)
	if err != nil {
		return err
	}
	*b = append(Bytes{}, bytes...)
	return nil
}

// Schema describes both forms.
func (Bytes) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "A text, or bytes in base64 where they are none.",
		OneOf:       []*huma.Schema{{Type: huma.TypeString}, base64Object()},
	}
}

func base64Object() *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, Required: []string{"base64"}, AdditionalProperties: false, Properties: map[string]*huma.Schema{"base64": base64Text()},
	}
}

func base64Text() *huma.Schema {
	// Not contentEncoding: huma would refuse an empty one.
	return &huma.Schema{Type: huma.TypeString, Pattern: base64Pattern, PatternDescription: "base64"}
}

// base64Pattern is what decode64 reads.
const base64Pattern = `^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$`

func decode64(text string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("it is no base64")
	}
	return b, nil
}

// MarshalJSON writes null, or what Bytes writes.
func (b NullBytes) MarshalJSON() ([]byte, error) {
	if b == nil {
		return []byte("null"), nil
	}
	return Bytes(b).MarshalJSON()
}

// UnmarshalJSON reads what MarshalJSON writes.
func (b *NullBytes) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*b = nil
		return nil
	}
	return (*Bytes)(b).UnmarshalJSON(data)
}

// Schema describes the forms.
func (NullBytes) Schema(r huma.Registry) *huma.Schema {
	s := Bytes(nil).Schema(r)
	s.Description += " null is not the same as an empty text."
	s.OneOf[0].Nullable = true
	return s
}

var (
	_ huma.SchemaProvider = Bytes{}
	_ huma.SchemaProvider = NullBytes{}
)

// Header is a header of an event.
type Header struct {
	Key   string    `json:"key"`
	Value NullBytes `json:"value"`
}

func viewHeaders(hs []layby.Header) []Header {
	list := make([]Header, len(hs))
	for i, h := range hs {
		list[i] = Header{h.Key, NullBytes(h.Value)}
	}
	return list
}

func eventHeaders(hs []Header) []layby.Header {
	list := make([]layby.Header, len(hs))
	for i, h := range hs {
		list[i] = layby.Header{Key: h.Key, Value: []byte(h.Value)}
	}
	return list
}

// utc is a time as JSON can hold it.
func utc(t time.Time) time.Time { return columns.Time(t).UTC() }

func utcOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = utc(t)
	return &t
}

// Value is an event's value, in one of its forms.
type Value struct {
	Bytes  int             `json:"bytes" doc:"Its size."`
	Text   *string         `json:"text,omitempty"`
	JSON   json.RawMessage `json:"json,omitempty"`
	Hex    *string         `json:"hex,omitempty"`
	Base64 *string         `json:"base64,omitempty"`
}

// Forms of a value.
const (
	asText = "text"
	asJSON = "json"
	asHex  = "hex"
)

// viewValue shows a value in a form, or in base64 when it has not got that. A nil one is null.
func viewValue(value []byte, as string) *Value {
	if value == nil {
		return nil
	}
	v := &Value{Bytes: len(value)}
	switch {
	case as == asJSON && utf8.Valid(value) && json.Valid(value):
		v.JSON = value
	case as == asText && utf8.Valid(value):
		text := string(value)
		v.Text = &text
	case as == asHex:
		text := hex.EncodeToString(value)
		v.Hex = &text
	default:
		text := base64.StdEncoding.EncodeToString(value)
		v.Base64 = &text
	}
	return v
}

// empty is a list that is not null.
func empty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
