package verify

import (
	"fmt"
	"slices"
	"time"
)

// Check is what is looked for.
type Check string

// The checks, with the guarantee that each stands for.
const (
	CheckLog       Check = "log"       // the log contradicts itself
	CheckLoss      Check = "loss"      // G1: each event succeeded, or is stored, and not both
	CheckOrder     Check = "order"     // G2: no start of an event before the earlier ones of its resource are settled or passed
	CheckExclusion Check = "exclusion" // G2: no two calls of a resource at once
	CheckRecorded  Check = "recorded"  // G3: no run after a recorded success
	CheckRepeats   Check = "repeats"   // G3: no run after a success, but for a crash in between
	CheckFencing   Check = "fencing"   // G7: no start under an older token than an earlier start's, or another member's
	CheckBytes     Check = "bytes"     // G8: what is handled is what was produced
	CheckCommits   Check = "commits"   // G1: no commit goes back, or past an event that is neither settled, nor passed, nor parked
	CheckAttempts  Check = "attempts"  // the budget is kept, and spent by failures of the event only
	CheckDelays    Check = "delays"    // no attempt comes earlier than its delay
	CheckCommands  Check = "commands"  // a command has an effect once
	CheckIsolation Check = "isolation" // G4: no event waits for other resources' while nothing runs and nothing is wrong
	CheckPauses    Check = "pauses"    // G9: no pause is without an end, but for a person's
	CheckLiveness  Check = "liveness"  // G5, G9: once all is mended, each event succeeds, or is dead or held, in time
)

// Checks lists all checks.
func Checks() []Check {
	return []Check{
		CheckLog, CheckLoss, CheckOrder, CheckExclusion, CheckRecorded, CheckRepeats, CheckFencing, CheckBytes, CheckCommits,
		CheckAttempts, CheckDelays, CheckCommands, CheckIsolation, CheckPauses, CheckLiveness,
	}
}

// Ordering is what is kept in order.
type Ordering string

// The orderings, as a consumer's configuration calls them.
const (
	OrderingPark  Ordering = "park"  // the events of a resource in a partition
	OrderingBlock Ordering = "block" // all events of a partition
	OrderingNone  Ordering = "none"  // nothing
)

// Options say what the run had promised.
type Options struct {
	Ordering Ordering // OrderingPark if it is empty
	// Delays are the least waits after each failed attempt, the first attempt's first. An event that has one more failed
	// attempts than there are delays is out of its budget. Empty checks neither.
	Delays []time.Duration
	// Recovery is how long after KindMended, or after it was produced, an event may take to succeed. 0 checks nothing.
	Recovery time.Duration
	// Wait is how long an event may wait for its first start while none before it of its resource is in its way, no handler
	// runs, and nothing is wrong or was so recently (for as long). 0 checks nothing.
	Wait time.Duration
	// Partial says that the run was looked at before it came to rest: events that are nowhere are then not reached yet,
	// unless an offset behind them was committed.
	Partial bool
}

// Violation is one thing that must not happen.
type Violation struct {
	Check Check    `json:"check"`
	At    Position `json:"position"`
	Text  string   `json:"text"`
	// Calls names the calls that it is about, the later one first.
	Calls []string `json:"calls,omitempty"`
}

func (v Violation) String() string { return fmt.Sprintf("%s: %v: %s", v.Check, v.At, v.Text) }

// Report is what the checks found.
type Report struct {
	Events     int         `json:"events"`
	Calls      int         `json:"calls"`
	Succeeded  int         `json:"succeeded"`
	Violations []Violation `json:"violations"`
	// Repeats is how often an event ran after a success that its member's crash or freeze may have left unrecorded: G3
	// allows that.
	Repeats int `json:"repeats"`
	// Again is how often an event ran after a success that was undone since: by a person, on purpose, or by Postgres, which
	// lost its last commits.
	Again int `json:"again"`
	// Frozen is how often a member that was frozen ran a handler beside its successor's, or started one after it; the
	// fencing token is what the called service tells them apart by.
	Frozen int `json:"frozen"`
	// Ignored is how often a handler that was told to stop ran on beside its successor's. The token tells them apart, too.
	Ignored int `json:"ignored"`
	// Unchecked says which checks the log has no entries for, with what is missing.
	Unchecked map[Check]string `json:"unchecked,omitempty"`
}

// Run checks a log. Its entries must be in the order in which things happened.
func Run(log []Entry, opts Options) *Report {
	h := arrange(log)
	r := &Report{Events: len(h.list), Calls: len(h.calls), Violations: slices.Clone(h.wrong), Unchecked: map[Check]string{}}
	for _, e := range h.list {
		if e.success != nil {
			r.Succeeded++
		}
	}
	lines := h.lines(opts.Ordering)
	r.loss(h, opts.Partial)
	if opts.Ordering != OrderingNone {
		r.order(h, lines)
		r.exclusion(h, h.apart(opts.Ordering))
	}
	r.repeats(h)
	r.fencing(h, lines)
	r.commits(h)
	r.attempts(h, opts.Delays)
	r.delays(h, opts.Delays)
	r.isolation(h, lines, opts)
	for _, id := range h.twice {
		r.add(CheckCommands, Position{}, "command %s was executed again", id)
	}
	if !opts.Partial {
		r.pauses(h)
	}
	r.liveness(h, opts)
	r.unchecked(h, opts)
	return r
}

// add notes a violation; calls among the arguments are those that it is about.
func (r *Report) add(c Check, at Position, format string, args ...any) {
	v := Violation{Check: c, At: at, Text: fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if about, ok := arg.(*call); ok {
			v.Calls = append(v.Calls, about.name)
		}
	}
	r.Violations = append(r.Violations, v)
}

// unchecked lists what could not be looked at, so that no silence is taken for a proof.
func (r *Report) unchecked(h *history, opts Options) {
	if h.kinds[KindCommitted] == 0 {
		r.Unchecked[CheckCommits] = "no committed offsets in the log"
	}
	if h.kinds[KindRecorded] == 0 {
		r.Unchecked[CheckRecorded] = "no recorded successes in the log"
	}
	if !slices.ContainsFunc(h.calls, func(c *call) bool { return c.token != 0 }) {
		r.Unchecked[CheckFencing] = "no started calls with a token"
	}
	if !slices.ContainsFunc(h.calls, func(c *call) bool { return c.attempt != 0 }) {
		r.Unchecked[CheckAttempts] = "no started calls with an attempt"
		r.Unchecked[CheckDelays] = r.Unchecked[CheckAttempts]
	}
	if len(opts.Delays) == 0 {
		r.Unchecked[CheckDelays] = "the delays are not given"
	}
	if opts.Ordering == OrderingNone {
		r.Unchecked[CheckOrder] = "no order is kept"
		r.Unchecked[CheckExclusion] = "no order is kept"
	}
	if h.kinds[KindExecuted] == 0 {
		r.Unchecked[CheckCommands] = "no executed commands in the log"
	}
	if opts.Wait == 0 {
		r.Unchecked[CheckIsolation] = "the longest wait is not given"
	}
	if h.kinds[KindPaused] == 0 {
		r.Unchecked[CheckPauses] = "no pauses in the log"
	}
	switch {
	case opts.Recovery == 0:
		r.Unchecked[CheckLiveness] = "the time of recovery is not given"
	case h.mended.IsZero():
		r.Unchecked[CheckLiveness] = "nothing is mended in the log"
	}
	if h.kinds[KindProduced] == 0 {
		r.Unchecked[CheckLoss] = "no produced events in the log"
	}
}
