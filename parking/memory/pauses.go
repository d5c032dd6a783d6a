package memory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/layby-go/layby/parking"
)

// PauseConsumer pauses a consumer, or the route of it that is not empty, until a time or, if that is zero, until it is resumed.
// It does what the function pause_consumer does: one that is paused stays as it is, unless that is to be replaced.
func (d *Database) PauseConsumer(consumer, reason, route string, until time.Time, replace bool) error {
	return d.transact(func(t *transaction) error {
		switch {
		case strings.TrimSpace(reason) == "":
			return failure(codeBadArgument, "pause_consumer needs a reason", "")
		case !until.IsZero() && !until.After(t.now):
			return failure(codeBadArgument, fmt.Sprintf("until %v is over", until), "")
		case len(t.rows(consumer)) == 0:
			return failure(codeNoData, fmt.Sprintf("consumer %s has not run here", consumer), "")
		}
		k := pauseKey{consumer, route}
		if p, there := t.pauses[k]; there && lasts(p, t.now) && !replace {
			return failure(codeState, fmt.Sprintf("consumer %s is paused already", consumer), "")
		}
		put(t, t.pauses, k, parking.Pause{Route: route, Reason: reason, Since: t.now, Until: until})
		t.announcements = append(t.announcements, consumer+"/0")
		return nil
	})
}

// ResumeConsumer ends a pause, as the function resume_consumer does.
func (d *Database) ResumeConsumer(consumer, reason, route string) error {
	return d.transact(func(t *transaction) error {
		if strings.TrimSpace(reason) == "" {
			return failure(codeBadArgument, "resume_consumer needs a reason", "")
		}
		k := pauseKey{consumer, route}
		if p, there := t.pauses[k]; !there || !lasts(p, t.now) {
			return failure(codeState, fmt.Sprintf("consumer %s is not paused", consumer), "")
		}
		remove(t, t.pauses, k)
		t.announcements = append(t.announcements, consumer+"/0")
		return nil
	})
}

func lasts(p parking.Pause, now time.Time) bool { return p.Until.IsZero() || p.Until.After(now) }

// pausesOf are those of a consumer that last.
func (t *transaction) pausesOf(consumer string) (out []parking.Pause) {
	for k, p := range t.pauses {
		if k.consumer == consumer && lasts(p, t.now) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b parking.Pause) int { return cmp.Compare(a.Route, b.Route) })
	return out
}
