package extract

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/layby-go/layby/config"
)

// FuzzPointer compares the scanner with a walk over encoding/json's tokens: on a valid document both find the same, and
// no bytes make the scanner panic.
func FuzzPointer(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,"x",null]}}`), "/a/b/1")
	f.Add([]byte(`{"a":1,"a":2,"\u0061":3}`), "/a")
	f.Add([]byte("{\"\xff\": \"\xff\", \"e\": 1e5}"), "/e")
	f.Add([]byte(`[[["]}",{}]]]`), "/0/0/1")
	f.Fuzz(func(t *testing.T, doc []byte, text string) {
		if len(text) == 0 || text[0] != '/' {
			return
		}
		p := newPointer(config.Selector{From: config.FromJSON, Name: text})
		got, err := p.find(doc)
		if !json.Valid(doc) {
			return
		}
		want, ok := walk(doc, p)
		if (err == nil) != ok || got != want {
			t.Fatalf("%s of %s: %q, %v; want %q, %v", text, doc, got, err, want, ok)
		}
	})
}

// walk finds a field the slow way.
func walk(doc []byte, p pointer) (string, bool) {
	for _, step := range p {
		d := json.NewDecoder(bytes.NewReader(doc))
		d.UseNumber()
		open, _ := d.Token()
		found := false
		for i := 0; d.More() && (open == json.Delim('{') || open == json.Delim('[')); i++ {
			key, _ := json.Marshal(i)
			name := string(key)
			if open == json.Delim('{') {
				token, _ := d.Token()
				name, _ = token.(string)
			}
			var value json.RawMessage
			if err := d.Decode(&value); err != nil {
				return "", false
			}
			if name == step {
				doc, found = value, true
				break
			}
		}
		if !found {
			return "", false
		}
	}
	var value any
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		return "", false
	}
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return map[bool]string{true: "true", false: "false"}[v], true
	}
	return "", false
}
