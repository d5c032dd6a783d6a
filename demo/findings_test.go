package demo

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// story is a run in a few words, over one order of three events: its calls in the order of their starts and ends.
type story struct {
	t        *testing.T
	scenario *scenario
	journal  *journal
	open     map[string]*call
	stored   *stored
	killing  killing
}

func newStory(t *testing.T) *story {
	t.Helper()
	s := &scenario{orders: 1, at: map[position]*event{}}
	for n := 1; n <= 3; n++ {
		e := &event{order: 1, n: n, offset: int64(n)}
		s.events = append(s.events, e)
		s.at[e.at()] = e
	}
	return &story{
		t: t, scenario: s, journal: newJournal(), open: map[string]*call{},
		stored: &stored{dead: map[position]string{}, held: map[position]bool{}, waiting: map[position]bool{}, parked: map[position]string{}, unclean: map[int32][]time.Time{}},
	}
}

// tell plays a line of words: "1?" starts a call of event 1, "1+" ends it with success, "1-" with a failure, "1" is both
// a start and a success, "1!" a start and a failure, "1x" the end of a call whose caller is gone. A letter before it is the member, else it is member a.
func (s *story) tell(line string) *story {
	s.t.Helper()
	for _, word := range strings.Fields(line) {
		member := 1
		if word[0] >= 'a' {
			member, word = int(word[0]-'a')+1, word[1:]
		}
		what := word[1:]
		key := fmt.Sprint(member, word[:1])
		if what == "?" || what == "" || what == "!" {
			e := s.scenario.events[word[0]-'1']
			c := &call{Partition: e.partition, Offset: e.offset, Member: member, Attempt: 1, event: e}
			s.journal.begin(c)
			s.open[key] = c
		}
		switch what {
		case "+", "":
			s.journal.end(s.open[key], http.StatusNoContent)
		case "-", "!":
			s.journal.end(s.open[key], http.StatusInternalServerError)
		case "x":
			s.journal.end(s.open[key], aborted)
		}
	}
	return s
}

func (s *story) kill(member int) *story {
	s.killing = killing{member: member, moment: s.journal.moment()}
	return s
}

func (s *story) findings() *findings {
	return check(s.scenario, s.journal.snapshot(), s.stored, s.killing)
}

func (s *story) at(n int) position { return s.scenario.events[n-1].at() }

func TestCheckAcceptsWhatIsInOrder(t *testing.T) {
	for name, s := range map[string]*story{
		"all at once":            newStory(t).tell("1 2 3"),
		"a retry in place":       newStory(t).tell("1 2! 2 3"),
		"again after a crash":    newStory(t).tell("a1 a2 a3?").kill(1).tell("a3x b1 b2 b3"),
		"a rerun of one of them": newStory(t).tell("a1 a2").kill(1).tell("b2 b3"),
	} {
		f := s.findings()
		if broken := f.broken(); len(broken) != 0 {
			t.Errorf("%s: %s", name, broken)
		}
		if f.succeeded != 3 {
			t.Errorf("%s: %d succeeded", name, f.succeeded)
		}
	}
}

func TestCheckFindsWhatIsOutOfOrder(t *testing.T) {
	for line, want := range map[string]string{
		"1 3 2":               "call 1 of order-events/0@3 at member 1 started before order-events/0@2 was settled or passed",
		"1! 2 1 3":            "call 1 of order-events/0@2 at member 1 started before order-events/0@1 was settled or passed",
		"1 2? 3 2+":           "call 2 of order-events/0@3 at member 1 started while call 1 of order-events/0@2 at member 1 ran",
		"1 a2? b2? a2+ b2+ 3": "call 2 of order-events/0@2 at member 2 started while call 1 of order-events/0@2 at member 1 ran",
	} {
		f := newStory(t).tell(line).findings()
		if !strings.Contains(strings.Join(f.disorder, "\n"), want) {
			t.Errorf("%s: found %q, want %q", line, f.disorder, want)
		}
		if broken := strings.Join(f.broken(), ""); !strings.Contains(broken, "G2") {
			t.Errorf("%s: the sentence is %q", line, broken)
		}
	}
}

func TestCheckFindsLostAndDoubleEvents(t *testing.T) {
	s := newStory(t).tell("1 2")
	if f := s.findings(); len(f.lost) != 1 || !strings.Contains(f.broken()[0], "G1") {
		t.Errorf("a lost event: %+v", f)
	}
	s.stored.waiting[s.at(3)] = true
	if f := s.findings(); len(f.lost) != 1 || !strings.Contains(f.lost[0], "still waits") {
		t.Errorf("an event that still waits counts as through: %+v", f)
	}
	delete(s.stored.waiting, s.at(3))
	s.stored.held[s.at(3)] = true
	if f := s.findings(); len(f.broken()) != 0 {
		t.Errorf("a held event: %s", f.broken())
	}
	s.stored.dead[s.at(1)] = "advance"
	if f := s.findings(); len(f.lost) != 1 || len(f.broken()) != 1 {
		t.Errorf("an event that succeeded and is dead: %s", f.broken())
	}
	s = newStory(t).tell("1 2 3")
	s.stored.held[s.at(3)] = true
	s.stored.dead[s.at(3)] = "hold"
	if f := s.findings(); len(f.lost) == 0 {
		t.Error("an event in two states is not found")
	}
}

func TestCheckLetsNothingPassADeadLetterThatHolds(t *testing.T) {
	s := newStory(t).tell("1 2! 3")
	s.stored.dead[s.at(2)] = "advance"
	if f := s.findings(); len(f.broken()) != 0 {
		t.Errorf("behind a letter that was passed: %s", f.broken())
	}
	s.stored.dead[s.at(2)] = policyHold
	if f := s.findings(); len(f.disorder) != 1 || !strings.Contains(f.disorder[0], "before order-events/0@2 was settled or passed") {
		t.Errorf("behind a letter that holds: %q", f.disorder)
	}
}

func TestCheckAllowsRepetitionOnlyAfterACrash(t *testing.T) {
	s := newStory(t).tell("a1 b2").kill(1).tell("b1 b3")
	if f := s.findings(); f.repeated != 1 || len(f.repeats) != 0 {
		t.Errorf("what the killed member had done: %d allowed, %q", f.repeated, f.repeats)
	}
	s.tell("b2")
	if f := s.findings(); len(f.repeats) != 1 || !strings.Contains(strings.Join(f.broken(), ""), "G3") {
		t.Errorf("what another member had done: %q", f.repeats)
	}
	s = newStory(t).tell("b1 b2")
	s.stored.unclean[0] = []time.Time{time.Now()}
	s.tell("b2 b3")
	if f := s.findings(); f.relapsed != 1 || len(f.repeats) != 0 {
		t.Errorf("after a lost lease: %d allowed, %q", f.relapsed, f.repeats)
	}
	s = newStory(t).tell("a1 b1 b2 b3").kill(1)
	if f := s.findings(); len(f.repeats) != 1 {
		t.Errorf("before the kill: %q", f.repeats)
	}
}

func TestCheckSaysHowEventsWereHealed(t *testing.T) {
	s := newStory(t).tell("1! 1 2! 2 3")
	s.stored.parked[s.at(2)] = "1s"
	s.stored.parked[s.at(3)] = ""
	f := s.findings()
	if f.inPlace != 1 || f.byTier["1s"] != 1 || f.drained != 1 {
		t.Errorf("in place %d, by tier %v, drained %d: want one of each", f.inPlace, f.byTier, f.drained)
	}
}
