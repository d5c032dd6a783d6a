package picking

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/internal/ids"
	"github.com/layby-go/layby/handlers/money"
	"github.com/layby-go/layby/integration/stack"
)

func TestLinesAreRepriced(t *testing.T) {
	pool := newPool(t)
	s := newShop(t, map[string]string{
		"pear": "199 EUR each", "plum": "250 EUR each", "cheese": "999 EUR kg", "ham": "2000 EUR kg", "gift": "0 EUR each",
	})
	h := newHandler(t, s.URL, pool)
	priced, weighed, heavy := ean(t, "201234501999"), ean(t, "291234501250"), ean(t, "291234500500")
	for i, c := range []struct {
		name, line string
		amount     int64
		by         string // with "capped"
		assumed    string // with the price
		why        string
	}{
		{name: "by the piece", line: `"product":"pear","ordered":2,"picked":2,"marked_price":50`, amount: 398, by: "catalogue"},
		{name: "the barcode's price is not for what is known", line: `"product":"pear","ordered":1,"picked":1,"barcode":"` + priced + `"`, amount: 199, by: "catalogue"},
		{name: "short pick", line: `"product":"pear","ordered":5,"picked":2`, amount: 398, by: "catalogue"},
		{name: "nothing picked", line: `"product":"unasked","ordered":5,"picked":0,"substitute_for":"unasked"`, amount: 0, by: "not picked"},
		{name: "by weight", line: `"product":"cheese","ordered":2,"picked":2,"weight_grams":1250`, amount: 1249, by: "catalogue"},
		{name: "by the barcode's weight", line: `"product":"cheese","ordered":2,"picked":2,"barcode":"` + heavy + `"`, amount: 999, by: "catalogue"},
		{name: "the line's weight counts", line: `"product":"cheese","ordered":1,"picked":1,"weight_grams":100,"barcode":"` + heavy + `"`, amount: 100, by: "catalogue"},
		{name: "goods by weight with a price label", line: `"product":"cheese","ordered":2,"picked":2,"barcode":"` + priced + `"`, amount: 3998, by: "barcode"},
		{name: "a weight counts more than a price label", line: `"product":"cheese","ordered":1,"picked":1,"weight_grams":100,"barcode":"` + priced + `"`, amount: 100, by: "catalogue"},
		{name: "a piece with a weight", line: `"product":"pear","ordered":2,"picked":2,"weight_grams":300`, amount: 398, by: "catalogue"},

		{name: "dearer substitute", line: `"product":"plum","ordered":3,"picked":2,"substitute_for":"pear"`, amount: 398, by: "catalogue capped"},
		{name: "more pieces than were ordered, as a substitute", line: `"product":"plum","ordered":1,"picked":2,"substitute_for":"pear"`, amount: 199, by: "catalogue capped"},
		{name: "cheaper substitute", line: `"product":"pear","ordered":2,"picked":2,"substitute_for":"plum"`, amount: 398, by: "catalogue"},
		{name: "substitute by weight", line: `"product":"ham","ordered":1,"picked":1,"weight_grams":500,"substitute_for":"cheese"`, amount: 500, by: "catalogue capped"},
		{name: "more pieces by weight than were ordered, as a substitute", line: `"product":"ham","ordered":1,"picked":3,"weight_grams":1500,"substitute_for":"cheese"`, amount: 500, by: "catalogue capped"},
		{name: "substitute with a price label", line: `"product":"ham","ordered":1,"picked":1,"barcode":"` + priced + `","substitute_for":"pear"`, amount: 199, by: "barcode capped"},
		{name: "substitute for what is not known", line: `"product":"plum","ordered":1,"picked":1,"substitute_for":"nobody"`, amount: 250, by: "catalogue"},
		{name: "a piece for what is weighed", line: `"product":"plum","ordered":1,"picked":1,"substitute_for":"cheese"`, amount: 250, by: "catalogue"},
		{name: "unknown substitute", line: `"product":"u","ordered":2,"picked":2,"marked_price":300,"substitute_for":"pear"`, amount: 398, by: "marked capped", assumed: "marked 300"},

		{name: "unknown, barcode", line: `"product":"u","ordered":1,"picked":2,"marked_price":5,"barcode":"` + priced + `"`, amount: 3998, by: "barcode", assumed: "barcode 1999", why: `does not know product "u"; its barcode has a price`},
		{name: "unknown, barcode, weighed", line: `"product":"u","ordered":1,"picked":2,"weight_grams":700,"barcode":"` + priced + `"`, amount: 1999, by: "barcode", assumed: "barcode 1999"},
		{name: "unknown, marked", line: `"product":"u","ordered":2,"picked":2,"marked_price":150`, amount: 300, by: "marked", assumed: "marked 150", why: "there is no barcode; a price is marked"},
		{name: "unknown, free", line: `"product":"u","ordered":2,"picked":2`, amount: 0, by: "free", assumed: "free 0", why: "no price is marked"},
		{name: "a weight is no price", line: `"product":"u","ordered":1,"picked":1,"barcode":"` + weighed + `"`, amount: 0, by: "free", assumed: "free 0", why: "its barcode has a weight and no price"},
		{name: "a weight is no price, marked", line: `"product":"u","ordered":1,"picked":1,"marked_price":7,"barcode":"` + weighed + `"`, amount: 7, by: "marked", assumed: "marked 7"},
		{name: "misread barcode", line: `"product":"u","ordered":1,"picked":1,"marked_price":7,"barcode":"2012345019990"`, amount: 7, by: "marked", assumed: "marked 7", why: "has the check digit 0, not"},
		{name: "marked as free", line: `"product":"u","ordered":1,"picked":1,"marked_price":0`, amount: 0, by: "marked", assumed: "marked 0"},
		{name: "free in the catalogue", line: `"product":"gift","ordered":1,"picked":1,"marked_price":7`, amount: 0, by: "catalogue"},
	} {
		t.Run(c.name, func(t *testing.T) {
			exec(t, pool, `delete from picking_outbox`)
			id := fmt.Sprint("o-", i)
			handle(t, h, picked(id, 3, `{"line":4,`+c.line+`}`))
			got := query(t, pool, `select amount || ' ' || priced_by || case when capped then ' capped' else '' end
				from picking_lines where order_id = $1 and line = 4`, id)
			if want := fmt.Sprintf("[%d %s]", c.amount, c.by); fmt.Sprint(got) != want {
				t.Errorf("%v, wanted %s", got, want)
			}
			invoice := query(t, pool, `select number || ' ' || version || ' ' || amount || ' ' || currency from picking_invoices where order_id = $1`, id)
			if want := fmt.Sprintf("[%s/3 3 %d EUR]", id, c.amount); fmt.Sprint(invoice) != want {
				t.Errorf("the invoice is %v, wanted %s", invoice, want)
			}
			payments, inconsistent := published(t, pool)
			want := []PaymentRequested{{Order: id, Invoice: id + "/3", Version: 3, Amount: money.Money{Amount: c.amount, Currency: "EUR"}}}
			if c.amount == 0 {
				want = nil
			}
			if !slices.Equal(payments, want) {
				t.Errorf("%+v, wanted %+v", payments, want)
			}
			var assumed, why string
			for _, event := range inconsistent {
				assumed += fmt.Sprintf("%s %d", event.Assumed, event.Price.Amount)
				why += event.Why
				if event.Order != id || event.Version != 3 || event.Line != 4 || event.Product != "u" || event.Price.Currency != "EUR" {
					t.Errorf("%+v", event)
				}
			}
			if assumed != c.assumed || !strings.Contains(why, c.why) {
				t.Errorf("assumed %q, %q; wanted %q, %q", assumed, why, c.assumed, c.why)
			}
		})
	}
	if s.asked["unasked"] != 0 || s.asked["pear"] != 1 || s.asked["u"] != 1 {
		t.Errorf("asked %v", s.asked)
	}
}

func TestOrdersThatAreNone(t *testing.T) {
	h := newHandler(t, "http://127.0.0.1:1", newPool(t))
	const good = `{"order":"o","version":3,"currency":"EUR","lines":[{"line":1,"product":"p","ordered":2,"picked":2,"barcode":"1","marked_price":1,"weight_grams":1,"substitute_for":"q"}]}`
	if _, err := readOrder(&layby.Event{Resource: "o", Value: []byte(good)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, says string }{
		{good, ``, "JSON"},
		{good, `[]`, "array"},
		{`"order":"o"`, `"order":""`, "order: it is empty"},
		{`"order":"o"`, `"order":"p"`, `order "p" is not the event's resource, "o"`},
		{`"version":3,`, ``, "version is 0"},
		{`"version":3`, `"version":-1`, "version is -1"},
		{`EUR`, `eur`, `currency "eur"`},
		{`"currency":"EUR",`, ``, `currency ""`},
		{`"line":1`, `"line":0`, "line is 0"},
		{`"picked":2`, `"picked":-1`, "picked is -1"},
		{`"picked":2`, `"picked":1.5`, "1.5"},
		{`"picked":2`, `"picked":1000001`, "between 0 and"},
		{`"picked":2,`, ``, "picked is missing"},
		{`"ordered":2`, `"ordered":-2`, "lines[0]: ordered is -2"},
		{`"ordered":2,`, ``, "ordered is missing"},
		{`"marked_price":1`, `"marked_price":-5`, "marked_price is -5"},
		{`"weight_grams":1`, `"weight_grams":-5`, "weight_grams is -5"},
		{`"product":"p"`, `"product":""`, "product: it is empty"},
		{`"product":"p"`, `"product":".."`, "is no id"},
		{`"product":"p"`, `"product":"a\u0000"`, "control character"},
		{`"order":"o"`, `"order":"` + strings.Repeat("o", 181) + `"`, "order: it has 181 bytes, and must have at most 180"},
		{`"order":"o"`, "\"order\":\"o\xff\"", "a broken one"},
		{`"product":"p"`, `"product":"` + strings.Repeat("p", 256) + `"`, "256 bytes"},
		{`"barcode":"1"`, `"barcode":"` + strings.Repeat("1", 65) + `"`, "65 bytes long"},
		{`"substitute_for":"q"`, `"substitute_for":"\n"`, "substitute_for"},
		{`"q"}]`, `"q"},{"line":1,"product":"p","ordered":1,"picked":1}]`, "lines[1]: line 1 is there twice"},
		{good, `{"order":"o","version":3,"currency":"EUR"}`, "no lines"},
	} {
		value := strings.Replace(good, c.old, c.new, 1)
		err := h.Handle(t.Context(), &layby.Event{Type: "order.picked", Resource: "o", Value: []byte(value)})
		j := layby.Judge(err)
		if j.Verdict != layby.VerdictPermanent || j.Class != ClassInvalidOrder || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, wanted %q", value, j, c.says)
		}
	}
}

func TestVerdicts(t *testing.T) {
	pool := newPool(t)
	s := newShop(t, map[string]string{"pear": "199 EUR each", "krona": "199 SEK each", "cheese": "999 EUR kg", "gold": "9223372036854775807 EUR each"})
	h := newHandler(t, s.URL, pool)
	for _, c := range []struct {
		name, line string
		verdict    layby.Verdict
		class      string
		says       string
	}{
		{"currency", `"product":"krona","ordered":1,"picked":1`, layby.VerdictPermanent, ClassCurrency, `the order is in EUR, the catalogue has product "krona" in SEK`},
		{"currency of what was ordered", `"product":"pear","ordered":1,"picked":1,"substitute_for":"krona"`, layby.VerdictPermanent, ClassCurrency, "SEK"},
		{"no weight", `"product":"cheese","ordered":1,"picked":1`, layby.VerdictNeedsCorrection, ClassMissingWeight, "price line 7: product \"cheese\""},
		{"no weight, a price that can't be trusted", `"product":"cheese","ordered":1,"picked":1,"barcode":"2012345019990"`, layby.VerdictNeedsCorrection, ClassMissingWeight, ""},
		{"too much", `"product":"gold","ordered":2,"picked":2`, layby.VerdictPermanent, ClassInvalidOrder, "too large"},
	} {
		err := h.Handle(t.Context(), picked("o", 1, `{"line":7,`+c.line+`}`))
		if j := layby.Judge(err); j.Verdict != c.verdict || j.Class != c.class || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v", c.name, j)
		} else if c.class == ClassMissingWeight && string(j.Details) != `{"field":"weight_grams","line":7}` {
			t.Errorf("%s: details %s", c.name, j.Details)
		}
	}
	pear := picked("o", 1, `{"line":1,"product":"pear","ordered":1,"picked":1}`)

	exec(t, pool, `alter table picking_outbox add constraint never check (false)`)
	if j := layby.Judge(h.Handle(t.Context(), pear)); j.Verdict != layby.VerdictPermanent || j.Class != ClassRefused {
		t.Errorf("%+v", j)
	}
	for _, table := range []string{"picking_orders", "picking_lines", "picking_invoices"} {
		if n := query(t, pool, `select count(*)::text from `+table); n[0] != "0" {
			t.Errorf("%s rows in %s of what was refused", n, table)
		}
	}
	exec(t, pool, `drop table picking_outbox`)
	if j := layby.Judge(h.Handle(t.Context(), pear)); j.Verdict != layby.VerdictRetriable {
		t.Errorf("%+v", j)
	}
	s.Close()
	if j := layby.Judge(h.Handle(t.Context(), picked("o", 1, `{"line":1,"product":"new","ordered":1,"picked":1}`))); j.Verdict != layby.VerdictUnavailable || j.Dependency != "catalogue" {
		t.Errorf("%+v", j)
	}
}

const everything = `
	select o::text from picking_orders o union all select l::text from picking_lines l
	union all select i::text from picking_invoices i union all select b::text from picking_outbox b order by 1`

func TestRepeatsAndOlderVersionsChangeNothing(t *testing.T) {
	pool := newPool(t)
	s := newShop(t, map[string]string{"pear": "199 EUR each"})
	h := newHandler(t, s.URL, pool)
	two, unknown := `{"line":1,"product":"pear","ordered":2,"picked":2}`, `{"line":2,"product":"u","ordered":1,"picked":1,"marked_price":5}`
	handle(t, h, picked("o", 2, two, unknown))
	handle(t, h, picked("other", 1, two))
	before := query(t, pool, everything)
	if len(before) != 3+4+3 {
		t.Fatal(before)
	}
	<-h.Committed()

	s.Close() // a repeat asks nobody
	again := newHandler(t, s.URL, pool)
	for _, version := range []int{2, 1, 2} {
		handle(t, again, picked("o", version, unknown))
		handle(t, h, picked("o", version, two))
		if got := query(t, pool, everything); !slices.Equal(got, before) {
			t.Fatalf("after version %d: %v, wanted %v", version, got, before)
		}
	}
	select {
	case <-h.Committed():
		t.Error("something is said to be new")
	default:
	}

	handle(t, h, picked("o", 3, `{"line":9,"product":"pear","ordered":3,"picked":3}`))
	if got := query(t, pool, `select line || ' ' || amount from picking_lines where order_id = 'o'`); !slices.Equal(got, []string{"9 597"}) {
		t.Error(got)
	}
	if got := query(t, pool, `select number || ' ' || amount from picking_invoices where order_id = 'o'`); !slices.Equal(got, []string{"o/3 597"}) {
		t.Error(got)
	}
	if got := query(t, pool, `select value->>'version' from picking_outbox where order_id = 'o' order by seq`); !slices.Equal(got, []string{"2", "2", "3"}) {
		t.Error(got)
	}
}

func TestAVersionThatCostsNothingReplacesTheRequestBefore(t *testing.T) {
	pool := newPool(t)
	h := newHandler(t, newShop(t, map[string]string{"pear": "199 EUR each"}).URL, pool)
	none := `{"line":1,"product":"pear","ordered":2,"picked":0}`
	handle(t, h, picked("first", 1, none))
	if payments, _ := published(t, pool); len(payments) != 0 {
		t.Errorf("%+v of an order that never cost anything", payments)
	}
	handle(t, h, picked("o", 1, `{"line":1,"product":"pear","ordered":2,"picked":2}`))
	handle(t, h, picked("o", 2, none))
	handle(t, h, picked("o", 2, none))
	payments, _ := published(t, pool)
	if len(payments) != 2 || payments[1] != (PaymentRequested{Order: "o", Invoice: "o/2", Version: 2, Amount: money.Money{Currency: "EUR"}}) {
		t.Errorf("%+v", payments)
	}
}

func TestAPostgresThatIsAwaySpendsNoAttempt(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, address := range []string{"127.0.0.1:1", silent.Addr().String()} {
		h := newHandler(t, "http://127.0.0.1:1", connect(t, "postgres://x@"+address+"/x?sslmode=disable", ""))
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		j := layby.Judge(h.Handle(ctx, picked("o", 1, `{"line":1,"product":"pear","ordered":2,"picked":2}`)))
		cancel()
		if j.Verdict != layby.VerdictUnavailable || j.Dependency != "postgres" {
			t.Errorf("%s: %v of %q: %v", address, j.Verdict, j.Dependency, j.Err)
		}
	}
}

// TestAPostgresThatGoesAwayBeforeTheWrite is away from the moment when the catalogue was asked.
func TestAPostgresThatGoesAwayBeforeTheWrite(t *testing.T) {
	s := newShop(t, map[string]string{"pear": "199 EUR each"})
	pear := picked("o", 1, `{"line":1,"product":"pear","ordered":2,"picked":2}`)

	pool := newPool(t)
	s.hold = pool.Reset
	lock, err := pool.Begin(t.Context())
	if err == nil {
		_, err = lock.Exec(t.Context(), `lock table picking_lines`)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if j := layby.Judge(newHandler(t, s.URL, pool).Handle(ctx, pear)); j.Verdict != layby.VerdictUnavailable || j.Dependency != "postgres" {
		t.Errorf("it hangs: %v of %q: %v", j.Verdict, j.Dependency, j.Err)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}

	reason := errors.New("the partition moved")
	stopped, stop := context.WithCancelCause(t.Context())
	s.hold = func() { stop(reason) }
	if err := newHandler(t, s.URL, pool).Handle(stopped, pear); !errors.Is(err, reason) || errors.Is(err, layby.ErrUnavailable) {
		t.Errorf("we gave up: %v", err)
	}

	other := newPool(t)
	s.hold = other.Close
	if j := layby.Judge(newHandler(t, s.URL, other).Handle(t.Context(), pear)); j.Verdict != layby.VerdictUnavailable || j.Dependency != "postgres" {
		t.Errorf("it is away: %v of %q: %v", j.Verdict, j.Dependency, j.Err)
	}
}

// TestTheLongestOrderIDHasAnInvoice says what the payment handler takes.
func TestTheLongestOrderIDHasAnInvoice(t *testing.T) {
	pool := newPool(t)
	h := newHandler(t, newShop(t, map[string]string{"pear": "199 EUR each"}).URL, pool)
	handle(t, h, &layby.Event{Resource: strings.Repeat("o", ids.MaxOrder), Value: fmt.Appendf(nil,
		`{"order":%q,"version":%d,"currency":"EUR","lines":[{"line":1,"product":"pear","ordered":2,"picked":2}]}`, strings.Repeat("o", ids.MaxOrder), math.MaxInt64)})
	payments, _ := published(t, pool)
	if len(payments) != 1 || ids.Check(payments[0].Invoice, ids.MaxInvoice) != nil {
		t.Errorf("%+v", payments)
	}
}

func TestOddVersionsAreLogged(t *testing.T) {
	pool := newPool(t)
	s := newShop(t, map[string]string{"pear": "199 EUR each"})
	logged := make(warnings, 10)
	h, err := New(Config{CatalogueURL: s.URL, Logger: slog.New(logged)}, pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	two, nine := `{"line":1,"product":"pear","ordered":2,"picked":2}`, `{"line":1,"product":"pear","ordered":9,"picked":9}`
	const now = 1_790_000_000_000 // a time as a version
	for _, c := range []struct {
		order   string
		version int
		line    string
		says    string
	}{
		{"o", 1, two, ""},
		{"o", 1, two, ""},
		{"o", 1, nine, "other content, which is ignored order=o version=1"},
		{"o", 3, nine, ""},
		{"o", 1, two, ""},
		{"o", now, nine, "far above the one before: those between count as older from now on order=o version=1790000000000 before=3"},
		{"o", now, nine, ""},
		{"time", now, two, ""},
		{"time", now + 100_000_000, nine, ""},
	} {
		handle(t, h, picked(c.order, c.version, c.line))
		text := ""
		select {
		case text = <-logged:
		default:
		}
		if (text == "") != (c.says == "") || !strings.Contains(text, c.says) {
			t.Errorf("version %d of %s: %q, wanted %q", c.version, c.order, text, c.says)
		}
	}
	exec(t, pool, `update picking_orders set content = null`) // by a program that did not note it
	handle(t, h, picked("time", now+100_000_000, two))
	if len(logged) != 0 {
		t.Error(<-logged)
	}
}

// TestCallsAtTheSameTime has several processes that have all asked the catalogue before any writes.
func TestCallsAtTheSameTime(t *testing.T) {
	for name, versions := range map[string][]int{"one version": {4, 4, 4}, "several": {5, 4, 3}} {
		t.Run(name, func(t *testing.T) {
			pool := newPool(t)
			s := newShop(t, map[string]string{"pear": "199 EUR each"})
			var here sync.WaitGroup
			here.Add(len(versions))
			s.hold = func() {
				here.Done()
				here.Wait()
			}
			var done sync.WaitGroup
			for _, version := range versions {
				h := newHandler(t, s.URL, pool)
				done.Go(func() {
					if err := h.Handle(t.Context(), picked("o", version, `{"line":1,"product":"pear","ordered":1,"picked":1}`)); err != nil {
						t.Error(err)
					}
				})
			}
			done.Wait()
			newest := fmt.Sprint(slices.Max(versions))
			if got := query(t, pool, `select version::text from picking_orders union all select version::text from picking_invoices`); !slices.Equal(got, []string{newest, newest}) {
				t.Error(got)
			}
			if got := query(t, pool, `select count(*)::text from picking_lines`); got[0] != "1" {
				t.Error(got)
			}
			events := query(t, pool, `select value->>'version' from picking_outbox order by seq`)
			if !slices.IsSorted(events) || len(slices.Compact(slices.Clone(events))) != len(events) || events[len(events)-1] != newest {
				t.Error(events)
			}
		})
	}
}

func TestMigrateTwice(t *testing.T) {
	url := stack.SharedPostgres(t).NewDatabase(t)
	pool := connect(t, url, "")
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := Migrate(t.Context(), pool); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	exec(t, pool, `insert into picking_orders (order_id, version, currency, total) values ('o', 1, 'EUR', 1)`)
	if err := Migrate(t.Context(), pool); err != nil {
		t.Error(err)
	}
	if n := query(t, pool, `select count(*)::text from picking_orders`); n[0] != "1" {
		t.Error(n)
	}
}
