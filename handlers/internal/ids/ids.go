// Package ids checks the IDs in the handlers' events, so that what one of them takes the next one does too.
package ids

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxOrder is how many bytes an order's ID may have.
	MaxOrder = 180
	// MaxInvoice is how many bytes an invoice's number may have: an order's ID, a slash and any version fit.
	MaxInvoice = 200
)

// Check says what is wrong with an ID that may have so many bytes, if anything is.
func Check(id string, most int) error {
	switch {
	case id == "":
		return errors.New("it is empty or missing")
	case len(id) > most:
		return fmt.Errorf("it has %d bytes, and must have at most %d", len(id), most)
	case strings.ContainsFunc(id, func(c rune) bool { return c == utf8.RuneError || unicode.IsControl(c) }):
		return fmt.Errorf("%q has a control character or a broken one", id)
	}
	return nil
}
