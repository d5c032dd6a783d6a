package demo

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestABrokenGuaranteeIsAnErrorAndASentence(t *testing.T) {
	sum := &summary{scenario: plan(1, 1), findings: found(logOfWords("1+ 3+"), nil), handling: time.Second}
	broken := sum.findings.broken()
	if err := verdict(broken); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "loss") || !strings.Contains(err.Error(), "order") {
		t.Errorf("the verdict is %v", err)
	}
	text := sum.text(broken)
	for _, want := range []string{"BROKEN: orders: loss", "BROKEN: orders: order", "lost events           1", "order violations      1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the summary lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "held.\n") {
		t.Error("the summary says that all is well")
	}
	if verdict(nil) != nil {
		t.Error("an error without a broken guarantee")
	}
}

func TestBooksThatDoNotAgreeAreBroken(t *testing.T) {
	fine := summary{
		findings: &findings{events: 9, succeeded: 4}, groups: []letterGroup{{Letters: 2}}, held: 3,
		business: business{Captured: 2, Taken: 700, ByMark: 1, ByNone: 1}, told: 2, bank: books{charges: 2, sum: 700},
	}
	if broken := fine.broken(); len(broken) != 0 {
		t.Errorf("%s", broken)
	}
	for want, change := range map[string]func(s *summary){
		"more than once":      func(s *summary) { s.bank.twice = 1 },
		"the bank took":       func(s *summary) { s.bank.sum = 800 },
		"in 3 charges":        func(s *summary) { s.bank.charges = 3 },
		"neither captured":    func(s *summary) { s.business.Open = 1 },
		"are not settled":     func(s *summary) { s.held = 2 },
		"never asked":         func(s *summary) { s.business.Unasked = 1 },
		"events tell of it":   func(s *summary) { s.told = 1 },
		"unknown to the cata": func(s *summary) { s.business.ByBarcode = 1 },
	} {
		s := fine
		change(&s)
		if broken := s.broken(); len(broken) != 1 || !strings.Contains(broken[0], want) {
			t.Errorf("found %q, want %q", broken, want)
		}
	}
}

func TestEachGroupOfLettersHasWhatToDoNext(t *testing.T) {
	s := &summary{groups: []letterGroup{
		{"payments", "CardRefused", "awaiting correction", 3, "the card was refused", 0}, {"orders", "It's odd", "dead", 2, "line\nbreak", 7},
	}}
	var b strings.Builder
	s.letters(&b)
	for _, want := range []string{
		"5 dead letters left", "3  CardRefused of payments, awaiting correction; 0 events held behind", "the customers are asked",
		"select layby.amend(id, jsonb_set(layby.as_json(value), '{card}'", "7 events held behind", "line break", "-> the warehouse is told",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, b.String())
		}
	}
	for _, g := range s.groups[:1] {
		if _, sql := g.correction(); !strings.Contains(sql, "error_class = 'CardRefused'") {
			t.Errorf("it corrects others, too: %s", sql)
		}
	}
	if _, sql := (&letterGroup{Class: "It's odd"}).correction(); sql != "" {
		t.Errorf("it corrects what is right: %s", sql)
	}
}
