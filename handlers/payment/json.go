package payment

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/layby-go/layby/handlers/money"
)

// took is a payment in an answer.
type took struct {
	id, status, invoice string
	amount              money.Money
}

// payment reads a payment from the body. Package json takes a name in any case and the last of two, and so would read
// "captured" from a body that says pending as well.
func (a *answer) payment() (p took, ok bool) {
	fields, err := a.fields("payment", "status", "invoice", "amount")
	if err != nil {
		return took{}, false
	}
	amount, err := object(fields["amount"], "amount", "currency")
	if err != nil {
		return took{}, false
	}
	for _, f := range []struct {
		raw json.RawMessage
		to  any
	}{
		{fields["payment"], &p.id},
		{fields["status"], &p.status},
		{fields["invoice"], &p.invoice},
		{amount["amount"], &p.amount.Amount},
		{amount["currency"], &p.amount.Currency},
	} {
		if f.raw != nil && json.Unmarshal(f.raw, f.to) != nil {
			return took{}, false
		}
	}
	return p, true
}

// text is a field of the body that is a text, empty when it is none.
func (a *answer) text(name string) (text string) {
	fields, err := a.fields(name)
	if err != nil || json.Unmarshal(fields[name], &text) != nil {
		return ""
	}
	return text
}

func (a *answer) fields(names ...string) (map[string]json.RawMessage, error) {
	if len(a.body) > maxAnswer {
		return nil, errStrange
	}
	return object(a.body, names...)
}

// errStrange doesn't say what is wrong: it could repeat a number, and a card has one.
var errStrange = errors.New("it is no JSON object, or says something twice")

// object reads a JSON object in which nothing stands twice, and nothing is called as one of the names but in another case.
func object(raw []byte, names ...string) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, errStrange
	}
	fields := map[string]json.RawMessage{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, errStrange
		}
		name, _ := token.(string)
		if _, again := fields[name]; again {
			return nil, errStrange
		}
		for _, known := range names {
			if name != known && strings.EqualFold(name, known) {
				return nil, errStrange
			}
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errStrange
		}
		fields[name] = value
	}
	if _, err := d.Token(); err != nil { // the end of the object
		return nil, errStrange
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errStrange
	}
	return fields, nil
}
