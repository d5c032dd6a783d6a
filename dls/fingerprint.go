package dls

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Fingerprint is the same for errors of one class whose texts differ only in what changes from one event to the next:
// numbers, times, addresses, hexadecimal ids, UUIDs and quoted values. It is 16 hexadecimal digits.
func Fingerprint(class, text string) string {
	h := sha256.Sum256([]byte(class + "\x00" + normalise(text)))
	return hex.EncodeToString(h[:8])
}

// What stands for a variable part.
const (
	numberMark = "#"
	quotedMark = "*"
)

const hexDigits = "0123456789abcdefABCDEF"

// normalise replaces the variable parts of an error's text: quoted values, and what varies in a word. White space
// becomes one space.
func normalise(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		c, end := text[i], i+1
		switch {
		case isQuote(c) && quoteEnd(text, i) > 0:
			end = quoteEnd(text, i) + 1
			b.WriteString(quotedMark)
		case isWord(c):
			for end < len(text) && isWord(text[end]) {
				end++
			}
			b.WriteString(word(text[i:end]))
		case isSpace(c):
			for end < len(text) && isSpace(text[end]) {
				end++
			}
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
		}
		i = end
	}
	return b.String()
}

// word replaces what varies in a word: a run of letters, digits and the signs that hold an id, a time or an address
// together. Neighbours that vary become one mark, so that times and numbers of any precision look the same.
func word(w string) string {
	if strings.Count(w, ":") > 1 && strings.Trim(w, hexDigits+":.") == "" {
		return numberMark // an address of IPv6, a time
	}
	var b []byte
	mark := -1 // the end of the latest mark, when only separators came since
	for len(w) > 0 {
		if isSeparator(w[0]) {
			b, w = append(b, w[0]), w[1:]
			continue
		}
		n := pieceEnd(w)
		kept, varies := piece(w[:n])
		w = w[n:]
		if kept != "" {
			b, mark = append(b, kept...), -1
		}
		if !varies {
			continue
		}
		if mark < 0 && strings.Trim(string(b), "-+") == "" {
			b = b[:0] // a sign
		}
		if mark >= 0 {
			b = b[:mark]
		} else {
			b = append(b, numberMark...)
		}
		mark = len(b)
	}
	return string(b)
}

// pieceEnd is where the piece that a word begins with ends: at a separator, or behind a whole UUID.
func pieceEnd(w string) int {
	if n := len("00000000-0000-0000-0000-000000000000"); len(w) >= n && isUUID(w[:n]) {
		return n
	}
	for i := range len(w) {
		if isSeparator(w[i]) {
			return i
		}
	}
	return len(w)
}

func isUUID(w string) bool {
	return w[8] == '-' && w[13] == '-' && w[18] == '-' && w[23] == '-' && strings.Trim(w, hexDigits+"-") == "" &&
		strings.Count(w, "-") == 4
}

// piece returns what stays of a piece of a word, and whether something varies behind it.
func piece(p string) (kept string, varies bool) {
	const shortestID = 8
	if len(p) >= shortestID && strings.Trim(p, hexDigits+"-") == "" {
		return "", true
	}
	if i := strings.IndexAny(p, "0123456789"); i >= 0 {
		return p[:i], true
	}
	return p, false
}

// quoteEnd finds the closing quote of the one at i; a single quote inside a word (don't) opens nothing.
func quoteEnd(s string, i int) int {
	if s[i] == '\'' && i > 0 && isLetter(s[i-1]) {
		return -1
	}
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case s[i]:
			return j
		}
	}
	return -1
}

func isQuote(c byte) bool     { return c == '"' || c == '\'' || c == '`' }
func isDigit(c byte) bool     { return c >= '0' && c <= '9' }
func isSeparator(c byte) bool { return strings.IndexByte("-.:_+", c) >= 0 }
func isLetter(c byte) bool    { return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80 }
func isSpace(c byte) bool     { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
func isWord(c byte) bool {
	return isLetter(c) || isDigit(c) || isSeparator(c)
}
