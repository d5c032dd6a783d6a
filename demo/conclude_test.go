package demo

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestABrokenGuaranteeIsAnErrorAndASentence(t *testing.T) {
	s := newStory(t).tell("1 3")
	sum := &summary{scenario: s.scenario, findings: s.findings(), stored: s.stored, handling: time.Second, total: time.Second}
	sum.scenario.produce = time.Second
	broken := sum.findings.broken()
	if err := verdict(broken); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "G1") || !strings.Contains(err.Error(), "G2") {
		t.Errorf("the verdict is %v", err)
	}
	text := sum.text(broken)
	for _, want := range []string{"BROKEN: G1", "BROKEN: G2", "lost events           1", "order violations      1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the summary lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "All guarantees held") {
		t.Error("the summary says that all is well")
	}
	if verdict(nil) != nil {
		t.Error("an error without a broken guarantee")
	}
}
