package demo

import (
	"slices"
	"sync"
	"time"
)

// call is one call of the service: a handler start, as the called side saw it.
type call struct {
	Partition int32
	Offset    int64
	Order     string
	Step      int
	Attempt   int
	Token     int64
	Member    int
	Started   time.Time
	Ended     time.Time
	Status    int
	// From and To number the starts and ends of all calls in the order in which they happened, so that no clock decides
	// what came first. To is 0 while the call runs.
	From int
	To   int

	event *event // nil when the position is none of the demo's
}

func (c *call) ok() bool { return c.Status >= 200 && c.Status < 300 }

// journal is everything that the service saw. It is safe for concurrent use.
type journal struct {
	mu        sync.Mutex
	tick      int
	calls     []*call
	succeeded map[position]bool
	running   map[int]int // calls under way, by member
}

func newJournal() *journal {
	return &journal{succeeded: map[position]bool{}, running: map[int]int{}}
}

// begin notes the start of a call and tells whether the event had succeeded before.
func (j *journal) begin(c *call) (again bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tick++
	c.From, c.Started = j.tick, time.Now()
	j.calls = append(j.calls, c)
	j.running[c.Member]++
	return j.succeeded[position{c.Partition, c.Offset}]
}

// end notes what the call was answered.
func (j *journal) end(c *call, status int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tick++
	c.To, c.Ended, c.Status = j.tick, time.Now(), status
	j.running[c.Member]--
	if c.ok() && c.event != nil {
		j.succeeded[c.event.at()] = true
	}
}

// handled counts the events that succeeded.
func (j *journal) handled() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.succeeded)
}

// underWay counts the calls of a member that run.
func (j *journal) underWay(member int) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.running[member]
}

// moment is the number of the latest start or end.
func (j *journal) moment() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tick
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

// byEvent groups calls by their event, in the order of their starts.
func byEvent(calls []call) map[*event][]*call {
	by := map[*event][]*call{}
	for i := range calls {
		if c := &calls[i]; c.event != nil {
			by[c.event] = append(by[c.event], c)
		}
	}
	return by
}

// busiest is the highest number of successes in one second.
func busiest(calls []call) int {
	count, most := map[int64]int{}, 0
	for i := range calls {
		if calls[i].ok() {
			count[calls[i].Ended.Unix()]++
			most = max(most, count[calls[i].Ended.Unix()])
		}
	}
	return most
}

// lastSuccess is when the last success was answered; the zero time if there was none.
func lastSuccess(calls []call) time.Time {
	var last time.Time
	for i := range calls {
		if calls[i].ok() && calls[i].Ended.After(last) {
			last = calls[i].Ended
		}
	}
	return last
}

// succeededIn tells whether one of the calls was answered with success.
func succeededIn(calls []*call) bool { return slices.ContainsFunc(calls, (*call).ok) }
