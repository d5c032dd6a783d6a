package columns

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of texts in the store, in bytes. They keep a row readable, and an indexed value below what an index entry
// can hold (about 2,700 bytes).
const (
	LongText  = 64 << 10 // an error's text, a stack
	ShortText = 4 << 10  // an error's text in the list of attempts
	Indexed   = 1000     // a class, an event type
)

// replacement stands for what can't be text.
const replacement = "\uFFFD"

// Text makes a string one that a text column can hold: NUL bytes and invalid UTF-8 are replaced, and it is cut to at
// most limit bytes, 0 for no limit.
func Text(s string, limit int) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", replacement)
	}
	s = strings.ToValidUTF8(s, replacement)
	if limit > 0 && len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	return s
}

// Readable is the text for people beside bytes: nil where they are not text.
func Readable[T string | []byte](b T) *string {
	s := string(b)
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		return nil
	}
	return &s
}

// The times that a timestamptz column and Go's time both express and print alike.
var (
	earliest = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// Time keeps a time within what a column can hold.
func Time(t time.Time) time.Time {
	switch {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	}
	return t
}
