package payment

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxQuote bounds what is quoted of an answer, in bytes.
const maxQuote = 300

// cardNumber is what could be one: twelve digits and more, with little between them.
var cardNumber = regexp.MustCompile(`[0-9](?:[^0-9\pL]{0,2}[0-9]){11,}`)

// quote makes a text of the service's fit for an error: printable, on one line, without what could be a card's number and
// without the token that was sent, and not long.
func (a *answer) quote(text string) string {
	text = strings.Map(func(c rune) rune {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if a.secret != "" {
		text = strings.ReplaceAll(text, a.secret, "[token]")
	}
	text = cardNumber.ReplaceAllString(text, "[number]")
	if len(text) <= maxQuote {
		return text
	}
	cut := maxQuote
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
