package consumer

import "strings"

// maxLogged bounds one value in a log line.
const maxLogged = 500

// printable makes a text fit for a log line: valid, and not too long.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > maxLogged {
		return strings.ToValidUTF8(s[:maxLogged], "") + "…"
	}
	return s
}
