package webhook

import (
	"fmt"
	"net/http"
	"strings"
)

// configured checks the headers of a configuration.
func configured(headers map[string]string) (http.Header, error) {
	out := http.Header{}
	for name, value := range headers {
		if !isToken(name) {
			return nil, fmt.Errorf("webhook headers: %q is no name of an HTTP header", name)
		}
		if !isFieldValue(value) {
			return nil, fmt.Errorf("webhook headers: the value of %s has a line break or another control character", name)
		}
		out.Set(name, value)
	}
	return out, nil
}

// isToken says that a text can be a header's name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// isFieldValue says that a text can be sent as a header's value (RFC 9110, section 5.5).
func isFieldValue(s string) bool {
	for i := range len(s) {
		if (s[i] < ' ' && s[i] != '\t') || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// isPlain says that a text can be a header's value as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
