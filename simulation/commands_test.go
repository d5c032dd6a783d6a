package simulation

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/layby-go/layby/parking/memory"
)

// commandKinds are what people do in a run of many commands.
var commandKinds = []string{
	"replay", "replay", "replay", "discard", "advance", "amend", "amend", "amend parked", "amend parked", "retry", "retry", "hold", "release",
	"replay together", "replay together", "replay together", "pause operation", "resume operation", "cancel operation",
}

// commands says that a seed has people do much, often two at once, and owners die between two steps of what they do.
func commands(seed uint64) bool { return seed%2 == 0 }

// maxDeaths bounds how many owners die so in a plan: each time costs a session.
const maxDeaths = 3

func (p *plan) planCommands() {
	if !commands(p.seed) || p.setup.ordering == "none" || len(p.events) == 0 {
		return
	}
	r := rand.New(rand.NewPCG(p.seed, 0xc033a)) //nolint:gosec // a seed decides
	deaths := 0
	for range 5 + r.IntN(30) {
		o := order{at: p.span.length/8 + rand64(r, p.span.length*7/8), kind: p.commandKind(r), n: r.IntN(1000)}
		if r.IntN(5) == 0 && deaths < maxDeaths {
			o.dies = pick(r, "Commands", "Requests", "Prepare", "Write")
			deaths++
		}
		p.orders = append(p.orders, o)
		if o.kind == "replay together" { // and what becomes of it
			steered := o.at + rand64(r, p.span.session/10)
			p.orders = append(p.orders, order{at: steered, kind: pick(r, "pause operation", "pause operation", "cancel operation")},
				order{at: steered + rand64(r, p.span.session), kind: pick(r, "resume operation", "resume operation", "cancel operation")})
		}
		if r.IntN(3) == 0 { // another operator, about the same
			p.orders = append(p.orders, order{at: o.at, kind: p.commandKind(r), n: o.n})
		}
		if r.IntN(6) == 0 {
			p.faults = append(p.faults, fault{at: o.at + rand64(r, p.span.session/20), kind: pick(r, addMember, stopMember, crash), takes: p.span.session, host: r.IntN(8)})
		}
	}
}

// commandKind is what somebody does. What is amended stays so unless commits are lost, or the source is read again.
func (p *plan) commandKind(r *rand.Rand) string {
	kind := pick(r, commandKinds...)
	if undone := undoes(p.seed); undone == losesCommits || undone == rewinds {
		for kind == "amend" || kind == "amend parked" {
			kind = pick(r, commandKinds...)
		}
	}
	return kind
}

var errNothing = errors.New("there is nothing to ask it for")

// command does what a person asks for beside what is decided about letters.
func (s *store) command(o *order) (id int64, err error) {
	switch o.kind {
	case "retry", "amend parked":
		waiting := s.Waiting()
		if len(waiting) == 0 {
			return 0, errNothing
		}
		e := waiting[o.n%len(waiting)]
		if o.kind == "retry" {
			return s.RetryNow(group, e.Resource, "as planned", e.Partition)
		}
		return s.AmendParked(group, e.Partition, e.Seq, fmt.Appendf(nil, "amended %d", o.n), "as planned", memory.AnyVersion)
	case "replay together":
		var letters []int64
		for i, l := range s.open() {
			if (i+o.n)%4 != 0 {
				letters = append(letters, l.ID)
			}
		}
		if len(letters) == 0 {
			return 0, errNothing
		}
		id, err = s.ReplayTogether(letters, "as planned")
		s.ops = append(s.ops, id)
		return id, err
	}
	if len(s.ops) == 0 {
		return 0, errNothing
	}
	id = s.ops[len(s.ops)-1]
	switch o.kind {
	case "pause operation":
		err = s.PauseOperation(id)
	case "resume operation":
		err = s.ResumeOperation(id)
	default:
		err = s.CancelOperation(id)
	}
	return id, err
}

// arm has the member die that has the next statement of a kind done, before it hears of it: a write that executes commands.
func (s *store) arm(statement string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dies = statement
}

func (s *store) executed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran++
}

// effects is how many commands had an effect.
func (s *store) effects() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ran
}

// fatal says that a statement was one after which its member dies.
func (s *store) fatal(statement string, ran int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dies != statement || statement == "Write" && s.ran == ran {
		return false
	}
	s.dies = ""
	return true
}
