package dls

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby/ordering"
)

func list(t *testing.T, s *Store, f Filter, p Page) ([]int64, Cursor) {
	t.Helper()
	found, err := s.List(t.Context(), f, p)
	if err != nil {
		t.Fatal(err)
	}
	var seqs []int64
	for _, l := range found.Letters {
		seqs = append(seqs, l.Seq)
	}
	return seqs, found.Next
}

func TestListFilters(t *testing.T) {
	s := newStore(t)
	put(t, s, "orders",
		letter("a", 1), letter("b", 2, func(l *ordering.Letter) { l.Row.Type = "order.viewed" }),
		letter("a", 3, func(l *ordering.Letter) { l.Failure = &ordering.Failure{Class: "Timeout", Text: "late"} }),
		letter("", 4, func(l *ordering.Letter) { l.Awaiting = true }))
	put(t, s, "invoices", letter("a", 5))
	if _, err := s.pool.Exec(t.Context(), "update "+s.schema+".dead_letters set state = 'healed', settled_at = now() where seq = 3"); err != nil {
		t.Fatal(err)
	}
	a, none := "a", ""
	for name, c := range map[string]struct {
		f    Filter
		want []int64
	}{
		"all, newest first":   {Filter{}, []int64{5, 4, 3, 2, 1}},
		"consumer":            {Filter{Consumer: "orders"}, []int64{4, 3, 2, 1}},
		"resource":            {Filter{Resource: &a}, []int64{5, 3, 1}},
		"empty resource":      {Filter{Resource: &none}, []int64{4}},
		"resource and state":  {Filter{Resource: &a, States: []State{Healed}}, []int64{3}},
		"type":                {Filter{Type: "order.viewed"}, []int64{2}},
		"class":               {Filter{Class: "UnknownProduct"}, []int64{5, 4, 2, 1}},
		"state":               {Filter{States: []State{Awaiting}}, []int64{4}},
		"fingerprint":         {Filter{Fingerprint: Fingerprint("UnknownProduct", "no product 99")}, []int64{5, 4, 2, 1}},
		"class and consumer":  {Filter{Class: "UnknownProduct", Consumer: "invoices"}, []int64{5}},
		"nothing":             {Filter{Class: "no such"}, nil},
		"a NUL in the filter": {Filter{Class: "no\x00such"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got, next := list(t, s, c.f, Page{}); !slices.Equal(got, c.want) || next != (Cursor{}) {
				t.Errorf("got %v, next %v, want %v", got, next, c.want)
			}
		})
	}
}

// Letters of one batch fail at one time: the id tells them apart.
func TestListPages(t *testing.T) {
	s := newStore(t)
	var batch []ordering.Letter
	for n := range 25 {
		batch = append(batch, letter(fmt.Sprint("r", n), int64(n)))
	}
	put(t, s, "orders", batch[:20]...)
	put(t, s, "orders", batch[20:]...)
	var got []int64
	pages := 0
	for next := (Cursor{}); ; pages++ {
		cursor, err := ParseCursor(next.String())
		if err != nil {
			t.Fatal(err)
		}
		var seqs []int64
		seqs, next = list(t, s, Filter{}, Page{Limit: 10, After: cursor})
		got = append(got, seqs...)
		if next == (Cursor{}) {
			break
		}
	}
	var want []int64
	for n := int64(24); n >= 0; n-- {
		want = append(want, n)
	}
	if !slices.Equal(got, want) || pages != 2 {
		t.Errorf("%d more pages: %v", pages, got)
	}
}

func TestACursorOfAnotherFilterIsRefused(t *testing.T) {
	s := newStore(t)
	put(t, s, "orders", letter("a", 1), letter("a", 2), letter("a", 3))
	f := Filter{Consumer: "orders", States: []State{Dead, Awaiting}, Headers: []HeaderTest{}}
	_, next := list(t, s, f, Page{Limit: 1})
	if next == (Cursor{}) {
		t.Fatal("no second page")
	}
	same := Filter{Consumer: "orders", States: []State{Awaiting, Dead, Dead}, Since: time.Now().Add(-time.Hour), Headers: []HeaderTest{}}
	if got, _ := list(t, s, same, Page{After: next}); !slices.Equal(got, []int64{2, 1}) {
		t.Errorf("the same filter, with states in another order and a time: %v", got)
	}
	for name, other := range map[string]Filter{
		"none": {}, "other states": {Consumer: "orders"}, "more": {Consumer: "orders", States: f.States, Text: "x"},
		"a header": {Consumer: "orders", States: f.States, Headers: []HeaderTest{{"a", "b"}}},
	} {
		if _, err := s.List(t.Context(), other, Page{After: next}); !errors.Is(err, ErrFilter) || !strings.Contains(err.Error(), "repeat that filter") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add("1700000000123456-17-0123abcd")
	f.Add("-5--6-x")
	f.Add("9223372036854775807-9223372036854775807-")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCursor(text)
		if err != nil {
			return
		}
		if again, err := ParseCursor(c.String()); c.String() != text || err != nil || !again.Failed.Equal(c.Failed) || again.ID != c.ID || again.Filter != c.Filter {
			t.Errorf("%q becomes %+v, then %+v, %v", text, c, again, err)
		}
	})
}

func TestParseCursorRefusesNonsense(t *testing.T) {
	for _, text := range []string{"x", "-", "1-", "-1", "1", "1-2", "1-2-", "x-2-k", "1-x-k", "+1-2-k", "1-02-k", "1-2-k-"} {
		if _, err := ParseCursor(text); err == nil {
			t.Errorf("%q is taken for a cursor", text)
		}
	}
}
