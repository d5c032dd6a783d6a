package admin

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// nullShown is how much of the way to a null is answered.
const nullShown = 200

// nullIn finds a null in a body where one has no meaning: it could be left out, or be meant as a value, and a condition of a filter
// that is left out selects more. What is no JSON has none. A body is looked through in one go, however deep or long it is.
func nullIn(body []byte) (at string, found bool) {
	if !json.Valid(body) {
		return "", false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var open []rune     // the objects and arrays that are not closed
	var within []string // the names that lead to what comes next; the last is that of a member of the innermost object
	named := false
	ended := func() { // a value has
		if named = false; len(open) > 0 && open[len(open)-1] == '{' {
			within = within[:len(within)-1]
		}
	}
	for {
		token, err := d.Token()
		if err != nil { // the end
			return "", false
		}
		inObject := len(open) > 0 && open[len(open)-1] == '{'
		switch v := token.(type) {
		case json.Delim:
			if named = false; v == '{' || v == '[' {
				open = append(open, rune(v))
				continue
			}
			open = open[:len(open)-1]
			ended()
		case string:
			if !inObject || named {
				ended()
				continue
			}
			within, named = append(within, v), true
			if slices.Equal(within, []string{"value", "json"}) { // a value may be anything
				var skipped json.RawMessage
				if d.Decode(&skipped) != nil {
					return "", false
				}
				ended()
			}
		case nil:
			if !slices.Equal(within, []string{"key"}) && !slices.Equal(within, []string{"headers", "value"}) {
				at := strings.Join(append([]string{"body"}, within...), ".")
				return strings.ToValidUTF8(at[:min(len(at), nullShown)], ""), true
			}
			ended()
		default:
			ended()
		}
	}
}
