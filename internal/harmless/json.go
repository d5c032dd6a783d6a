// Package harmless writes what came from others so that it does no harm where it is read.
package harmless

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
)

// JSON escapes what JSON allows within a text and a terminal might obey: control characters above ASCII, and those that turn the
// direction of writing or are not seen. It means the same as before.
func JSON(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range text {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
