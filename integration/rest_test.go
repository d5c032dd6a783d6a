package integration

import (
	"fmt"
	"slices"
	"time"
)

// progress counts what became of the events so far.
type progress struct {
	succeeded, dead, held, waiting, open int
	missing                              []string
}

func (p progress) String() string {
	return fmt.Sprintf("%d succeeded, %d dead, %d held, %d waiting, %d nowhere yet %v",
		p.succeeded, p.dead, p.held, p.waiting, p.open, p.missing)
}

// progress looks at every event. Postgres may be away: then its part is left out.
func (w *world) progress() progress {
	s, err := w.stored()
	if err != nil {
		s = &stored{}
	}
	var p progress
	for _, e := range w.produced() {
		at := e.position()
		l, dead := s.letters[at]
		row, parked := s.parked[at]
		switch {
		case parked && row.Held:
			p.held++
		case parked:
			p.waiting++
		case dead && (l.State == "dead" || l.State == "awaiting correction"):
			p.dead++
		case w.service.hasSucceeded(at), dead:
			p.succeeded++
		default:
			p.open++
			if len(p.missing) < 5 {
				p.missing = append(p.missing, e.String())
			}
		}
	}
	return p
}

// rest waits until every event has succeeded, is dead, or is held behind one that is, and all that can be committed is.
func (w *world) rest(limit time.Duration) progress {
	w.t.Helper()
	var p progress
	eventually(w.t, limit, "every event has succeeded, is dead or is held", func() (bool, string) {
		p = w.progress()
		return p.open == 0 && p.waiting == 0, p.String()
	})
	w.allCommitted(10 * time.Second)
	return p
}

// allCommitted waits until the offsets of the source topics and of the retry tiers have reached the topics' ends: the
// lag of all is zero.
func (w *world) allCommitted(limit time.Duration) {
	w.t.Helper()
	topics := slices.Clone(w.sources)
	for name := range w.committedTopics() {
		if !slices.Contains(topics, name) {
			topics = append(topics, name)
		}
	}
	eventually(w.t, limit, "the committed offsets reach the topics' ends", func() (bool, string) {
		for _, topic := range topics {
			committed, ends := w.committed(topic), w.ends(topic)
			for p, end := range ends {
				// Where no record is left, and never was a commit, there is nothing to commit.
				if committed[p] != end && (committed[p] >= 0 || w.logStart(topic, p) < end) {
					return false, fmt.Sprintf("%s/%d: %d of %d are committed", topic, p, committed[p], end)
				}
			}
		}
		return true, ""
	})
}
