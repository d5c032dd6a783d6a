package demo

import (
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby/verify"
)

// logOfWords is a run of one order with three events, in words: "1+" is a call of event 1 that succeeds, "1-" one that fails,
// "1~" one whose service is away.
func logOfWords(words string, more ...verify.Entry) []verify.Entry {
	now := time.Unix(1000, 0)
	at := func(offset int64, e verify.Entry) verify.Entry {
		now = now.Add(time.Second)
		e.Topic, e.Offset, e.At = ordersTopic, offset, now
		return e
	}
	var log []verify.Entry
	for offset := range int64(3) {
		log = append(log, at(offset, verify.Entry{Kind: verify.KindProduced, Resource: "order-1"}))
	}
	outcomes := map[byte]verify.Outcome{'+': verify.OutcomeSucceeded, '-': verify.OutcomeFailed, '~': verify.OutcomeUnavailable}
	for i, word := range strings.Fields(words) {
		call := string(rune('a' + i))
		log = append(log, at(int64(word[0]-'1'), verify.Entry{Kind: verify.KindStarted, Call: call, Member: "m"}),
			at(0, verify.Entry{Kind: verify.KindEnded, Call: call, Outcome: outcomes[word[1]]}))
	}
	for _, e := range more {
		log = append(log, at(e.Offset, e))
	}
	return log
}

func TestWhatIsHealedByAReplayIsCountedOnce(t *testing.T) {
	f := &findings{byTier: map[string]int{}}
	f.add(logOfWords("1- 1+ 2+ 3+"), map[verify.Position]string{position(1): "1s"}, map[verify.Position]bool{position(1): true})
	if f.replayed != 1 || f.byTier["1s"] != 0 || f.atFirst != 2 || len(f.healed) != 1 {
		t.Errorf("%+v", f)
	}
}

func found(log []verify.Entry, tiers map[verify.Position]string) *findings {
	f := &findings{byTier: map[string]int{}}
	f.add(log, tiers, nil)
	return f
}

func position(n int64) verify.Position { return verify.Position{Topic: ordersTopic, Offset: n - 1} }

func TestHowEventsWereHealedIsCounted(t *testing.T) {
	f := found(logOfWords("1- 1+ 2- 2+ 3+"), map[verify.Position]string{position(2): "1s", position(3): ""})
	if f.inPlace != 1 || f.byTier["1s"] != 1 || f.waited != 1 || f.atFirst != 0 || len(f.healed) != 3 || f.calls != 5 || f.events != 3 {
		t.Errorf("%+v", f)
	}
	f = found(logOfWords("1+ 2~ 2+ 3+"), nil)
	if f.atFirst != 2 || f.waited != 1 || f.succeeded != 3 || len(f.successes) != 3 || len(f.broken()) != 0 {
		t.Errorf("%+v: %s", f, f.broken())
	}
}

func TestWhatIsBrokenIsSaid(t *testing.T) {
	for _, c := range []struct {
		words  string
		more   []verify.Entry
		checks []verify.Check
		want   string
	}{
		{"1+ 2+", nil, ofLoss, "loss"},
		{"1+ 2+ 3-", []verify.Entry{{Kind: verify.KindCommitted, Offset: 3}, {Kind: verify.KindStored, Offset: 2, State: verify.StateDead}}, ofLoss, "commit"},
		{"1+ 3+ 2+", nil, ofOrder, "order"},
		{"1+ 2+ 3+ 3+", nil, ofRepeats, "repeats"},
	} {
		f := found(logOfWords(c.words, c.more...), nil)
		text := strings.Join(f.broken(), "\n")
		if f.of(c.checks...) != 1 || !strings.Contains(text, c.want) || !strings.HasPrefix(text, ordersGroup) {
			t.Errorf("%s: %d found: %s", c.words, f.of(c.checks...), text)
		}
	}
	if f := found(logOfWords("1+ 3+ 2+ 3+"), nil); !strings.Contains(strings.Join(f.broken(), "\n"), "repeats") {
		t.Errorf("%s", f.broken())
	}
}
