package dls

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Cursor is a place between two letters of a list, for the filter that the list was made with. The zero value is the beginning.
type Cursor struct {
	Failed time.Time
	ID     int64
	Filter string // names the filter
}

// String is a text for ParseCursor; empty for the beginning.
func (c Cursor) String() string {
	if c == (Cursor{}) {
		return ""
	}
	return fmt.Sprintf("%d-%d-%s", c.Failed.UnixMicro(), c.ID, c.Filter)
}

// ParseCursor reads what String wrote.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	place, filter, ok := cutLast(text)
	at, id, ok2 := cutLast(place)
	micros, err := strconv.ParseInt(at, 10, 64)
	number, err2 := strconv.ParseInt(id, 10, 64)
	c := Cursor{Failed: time.UnixMicro(micros), ID: number, Filter: filter}
	if !ok || !ok2 || filter == "" || errors.Join(err, err2) != nil || c.String() != text {
		return Cursor{}, fmt.Errorf("%q is no cursor: take the one that the page before gave", text)
	}
	return c, nil
}

func cutLast(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, '-')
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}

// check refuses a cursor that another filter's list gave.
func (c Cursor) check(f *Filter) error {
	if c == (Cursor{}) || c.Filter == f.key() {
		return nil
	}
	return fmt.Errorf("the cursor %s belongs to a list with another filter: repeat that filter, or begin without a cursor (%w)", c, ErrFilter)
}
