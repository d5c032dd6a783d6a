package admin

import (
	"encoding/json"
	"slices"
)

// nullIn finds a null in a body where one has no meaning: it could be left out, or be meant as a value, and a condition of a filter
// that is left out selects more. What is no JSON has none.
func nullIn(body []byte) (at string, found bool) {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return "", false
	}
	return nullWithin(v, "body", nil)
}

func nullWithin(v any, at string, within []string) (string, bool) {
	switch v := v.(type) {
	case nil:
		switch {
		case slices.Equal(within, []string{"key"}), slices.Equal(within, []string{"headers", "value"}):
			return "", false
		}
		return at, true
	case []any:
		for _, item := range v {
			if where, found := nullWithin(item, at, within); found {
				return where, true
			}
		}
	case map[string]any:
		for name, member := range v {
			if len(within) == 1 && within[0] == "value" && name == "json" {
				continue // a value may be anything
			}
			if where, found := nullWithin(member, at+"."+name, append(slices.Clone(within), name)); found {
				return where, true
			}
		}
	}
	return "", false
}
