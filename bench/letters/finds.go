package main

import (
	"context"
	"fmt"
	"time"

	"github.com/layby-go/layby/dls"
)

// find makes a filter with a value of each call's own.
type find struct {
	name   string
	filter func(b *bench) dls.Filter
}

var (
	open = []dls.State{dls.Dead, dls.Awaiting}
	one  = []dls.State{dls.Dead}
)

var finds = []find{
	{"newest", func(*bench) dls.Filter { return dls.Filter{} }},
	{"state, common", func(*bench) dls.Filter { return dls.Filter{States: one} }},
	{"state, rare", func(*bench) dls.Filter { return dls.Filter{States: []dls.State{dls.Replaying}} }},
	{"consumer and states", func(*bench) dls.Filter { return dls.Filter{Consumer: "orders", States: open} }},
	{"resource", func(b *bench) dls.Filter { return dls.Filter{Resource: b.resource()} }},
	{"resource with a thousandth of all, and a state", func(*bench) dls.Filter { hot := "hot"; return dls.Filter{Resource: &hot, States: one} }},
	{"correlation id", func(b *bench) dls.Filter { return dls.Filter{Correlation: fmt.Sprint("c-", b.rnd.IntN(b.letters))} }},
	{"type, any, and states", func(b *bench) dls.Filter { return dls.Filter{Type: fmt.Sprint("type-", b.rnd.IntN(30)), States: open} }},
	{"type, the rarest", func(*bench) dls.Filter { return dls.Filter{Type: "type-29"} }},
	{"class, any, and states", func(b *bench) dls.Filter {
		return dls.Filter{Class: fmt.Sprint("class-", b.rnd.IntN(40)), States: open}
	}},
	{"fingerprint, any", func(b *bench) dls.Filter { return dls.Filter{Fingerprint: fmt.Sprint("fingerprint-", b.rnd.IntN(200))} }},
	{"fingerprint and consumer", func(b *bench) dls.Filter {
		return dls.Filter{Fingerprint: fmt.Sprint("fingerprint-", b.rnd.IntN(200)), Consumer: "invoices"}
	}},
	{"type and class, any", func(b *bench) dls.Filter {
		return dls.Filter{Type: fmt.Sprint("type-", b.rnd.IntN(30)), Class: fmt.Sprint("class-", b.rnd.IntN(40))}
	}},
	{"class and a day", func(b *bench) dls.Filter {
		since := time.Date(2026, 1, 1, 0, 0, b.rnd.IntN(b.letters), 0, time.UTC)
		return dls.Filter{Class: "class-0", Since: since, Until: since.AddDate(0, 0, 1)}
	}},
	{"amended", func(*bench) dls.Filter { yes := true; return dls.Filter{Amended: &yes} }},
	{"header, common", func(b *bench) dls.Filter {
		return dls.Filter{Headers: []dls.HeaderTest{{Name: "tenant", Value: fmt.Sprint("t-", b.rnd.IntN(100))}}}
	}},
}

// bounded are finds that look at 100,000 letters in vain.
var bounded = []find{
	{"header that none has, 100,000 looked at", func(*bench) dls.Filter { return dls.Filter{Headers: []dls.HeaderTest{{Name: "tenant", Value: "none"}}} }},
	{"text that none has, 100,000 looked at", func(*bench) dls.Filter { return dls.Filter{Text: "nothing like it"} }},
	{"JSON that none has, 100,000 looked at", func(*bench) dls.Filter {
		return dls.Filter{JSON: []dls.JSONTest{{Pointer: []string{"card", "brand"}, Value: "none"}}}
	}},
}

func (b *bench) resource() *string {
	r := fmt.Sprint("order-", b.rnd.IntN(min(b.letters, 5_000_000)))
	return &r
}

func (b *bench) finds(ctx context.Context) error {
	list := func(f find) error {
		return b.measure(f.name, func() (int, error) {
			found, err := b.store.List(ctx, f.filter(b), dls.Page{})
			if err != nil {
				return 0, err
			}
			return len(found.Letters), nil
		})
	}
	for _, f := range finds {
		if err := list(f); err != nil {
			return err
		}
	}
	calls := b.calls
	b.calls = max(calls/20, 5)
	for _, f := range bounded {
		if err := list(f); err != nil {
			return err
		}
	}
	b.calls = calls
	counts := map[string]dls.Filter{"count of a state, exact": {States: one}, "count of a class, capped": {Class: "class-0"}}
	for name, f := range counts {
		if err := b.measure(name, func() (int, error) { n, err := b.store.Count(ctx, f, 0); return int(n.N), err }); err != nil {
			return err
		}
	}
	return b.measure("groups", func() (int, error) {
		groups, _, err := b.store.Groups(ctx, dls.GroupFilter{Open: true}, 50)
		return len(groups), err
	})
}
