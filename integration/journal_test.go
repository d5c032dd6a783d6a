package integration

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/layby-go/layby/verify"
)

// call is one call of the service: a handler start, as the called side saw it.
type call struct {
	// From and to number the starts and ends of all calls in the order in which they happened, so that no clock decides
	// what came first. To is 0 while the call runs.
	from, to       int
	started, ended time.Time

	position string // topic/partition@offset
	resource string
	n        int // the event's number in its resource, by its value
	run      int // this event's calls so far, this one included
	attempt  int
	token    int64
	member   string
	value    []byte
	whole    *bytesOf // of a Go handler
	status   int      // 0 while the call runs
}

// gone is the status of a call whose caller went away before it was answered.
const gone = 499

// ended599 is the status of a call whose handler never returned: it ended the process.
const died = 599

func (c *call) ok() bool { return c.status >= 200 && c.status < 300 }

// outcome is what the answer was to the consumer.
func (c *call) outcome() verify.Outcome {
	switch {
	case c.ok():
		return verify.OutcomeSucceeded
	case c.status == gone:
		return verify.OutcomeCancelled
	case c.status == http.StatusServiceUnavailable:
		return verify.OutcomeUnavailable
	}
	return verify.OutcomeFailed
}

func (c *call) String() string {
	end := "runs"
	if c.to != 0 {
		end = fmt.Sprintf("%d after %v", c.status, c.ended.Sub(c.started).Round(time.Millisecond))
	}
	return fmt.Sprintf("%s %s#%d %s attempt %d by %s token %d: %s (%d-%d)", c.started.Format("05.000"), c.resource, c.n, c.position,
		c.attempt, c.member, c.token, end, c.from, c.to)
}

// journal is everything that the service saw. It is safe for concurrent use.
type journal struct {
	mu    sync.Mutex
	tick  int
	calls []*call
	runs  map[string]int // by position
	done  map[string]int // successes by position
}

func newJournal() *journal { return &journal{runs: map[string]int{}, done: map[string]int{}} }

func (j *journal) begin(c *call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tick++
	j.runs[c.position]++
	c.from, c.started, c.run = j.tick, time.Now(), j.runs[c.position]
	j.calls = append(j.calls, c)
}

func (j *journal) end(c *call, status int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tick++
	c.to, c.ended, c.status = j.tick, time.Now(), status
	if c.ok() {
		j.done[c.position]++
	}
}

// momentAt is how many starts and ends there were at a time.
func (j *journal) momentAt(at time.Time) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, c := range j.calls {
		if !c.started.After(at) {
			n = max(n, c.from)
		}
		if c.to != 0 && !c.ended.After(at) {
			n = max(n, c.to)
		}
	}
	return n
}

// snapshot copies the calls, in the order of their starts.
func (j *journal) snapshot() []call {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := make([]call, len(j.calls))
	for i, c := range j.calls {
		list[i] = *c
	}
	return list
}

// succeeded counts the events that succeeded at least once.
func (j *journal) succeeded() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.done)
}

func (j *journal) hasSucceeded(position string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.done[position] > 0
}

// count counts the calls that are wanted.
func (j *journal) count(want func(c *call) bool) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, c := range j.calls {
		if want(c) {
			n++
		}
	}
	return n
}

// of lists the calls of one event, by resource and number.
func (j *journal) of(resource string, n int) []call {
	var list []call
	for _, c := range j.snapshot() {
		if c.resource == resource && c.n == n {
			list = append(list, c)
		}
	}
	return list
}

// tail is the last calls, one a line.
func (j *journal) tail(n int) string {
	calls := j.snapshot()
	var b strings.Builder
	for i := range calls[max(0, len(calls)-n):] {
		fmt.Fprintln(&b, calls[max(0, len(calls)-n)+i].String())
	}
	return b.String()
}

// moment is the number of the latest start or end.
func (j *journal) moment() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tick
}

// at is when a numbered start or end was.
func (j *journal) at(moment int) time.Time {
	for _, c := range j.snapshot() {
		switch moment {
		case c.from:
			return c.started
		case c.to:
			return c.ended
		}
	}
	return time.Time{}
}
