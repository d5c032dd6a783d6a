package dls

import (
	"fmt"
	"slices"
	"testing"

	"github.com/layby-go/layby/ordering"
)

func list(t *testing.T, s *Store, f Filter, p Page) ([]int64, Cursor) {
	t.Helper()
	letters, next, err := s.List(t.Context(), f, p)
	if err != nil {
		t.Fatal(err)
	}
	var seqs []int64
	for _, l := range letters {
		seqs = append(seqs, l.Seq)
	}
	return seqs, next
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
		"resource and state":  {Filter{Resource: &a, State: Healed}, []int64{3}},
		"type":                {Filter{Type: "order.viewed"}, []int64{2}},
		"class":               {Filter{Class: "UnknownProduct"}, []int64{5, 4, 2, 1}},
		"state":               {Filter{State: Awaiting}, []int64{4}},
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

func TestParseCursorRefusesNonsense(t *testing.T) {
	for _, text := range []string{"x", "-", "1-", "-1", "1", "1-2-x"} {
		if _, err := ParseCursor(text); err == nil {
			t.Errorf("%q is taken for a cursor", text)
		}
	}
}
