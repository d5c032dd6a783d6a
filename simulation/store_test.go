package simulation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/ordering"
	"github.com/layby-go/layby/parking"
	"github.com/layby-go/layby/parking/memory"
	"github.com/layby-go/layby/verify"
)

// store is the database of a run, and the person who works with it.
type store struct {
	*memory.Database
	w *world

	mu     sync.Mutex
	losses []*loss
	counts map[string]int // statements by their kind
	dies   string         // after which statement its member dies
	ran    int            // commands that had an effect
	ops    []int64        // operations that were asked for
}

// count counts a statement, from 0.
func (s *store) count(statement string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[statement]++
	return s.counts[statement] - 1
}

func newStore(w *world) *store {
	s := &store{Database: memory.New(nil), w: w, counts: map[string]int{}}
	kinds := map[memory.Became]verify.Kind{
		memory.Parked: verify.KindParked, memory.Recorded: verify.KindRecorded, memory.Passed: verify.KindPassed,
		memory.Rewound: verify.KindRewound, memory.Hurried: verify.KindHurried,
	}
	s.Watch(func(c memory.Change) {
		if c.Became == memory.Executed {
			s.executed()
			w.journal.add(verify.Entry{Kind: verify.KindExecuted, Command: strconv.FormatInt(c.Command, 10)})
		}
		if c.Became == memory.Lost {
			s.notice(&c)
		}
		at := w.names.position(c.TopicID, c.Partition, c.Offset)
		if c.Became == memory.Amended {
			w.journal.add(verify.Entry{
				Kind: verify.KindAmended, Topic: at.Topic, Partition: at.Partition, Offset: at.Offset,
				Sum: sum(c.Event.Key, c.Event.Value, c.Event.Headers, c.Event.Timestamp),
			})
		}
		if kind, ok := kinds[c.Became]; ok {
			w.journal.add(verify.Entry{Kind: kind, Topic: at.Topic, Partition: at.Partition, Offset: at.Offset})
		}
		if c.Became == memory.Rewound {
			w.journal.again(at)
		}
	})
	return s
}

// openStore is a member's way to the database.
func (w *world) openStore(m *member) *parking.Store {
	return parking.OpenOn(w.store.Connect(m.wire), parking.Options{Instance: m.name, Log: slog.New(w.logs.handler(m.name))})
}

var errBroken = errors.New("the connection broke")

// wire carries statements over the member's path to the database.
func (m *member) wire(ctx context.Context, statement string, run func() error) error {
	f := m.store.fate()
	if m.w.p.breaks != nil && m.w.p.breaks(statement, m.w.store.count(statement)) {
		return errBroken
	}
	if m.store.refusing() {
		return errRefused
	}
	if !m.store.pass(f.delay, ctx.Done()) {
		if f.late {
			m.w.busy.Add(1)
			go func() { // it was sent, and is executed although nobody waits for it
				defer m.w.busy.Done()
				m.store.pass(f.answerDelay, nil)
				_ = run()
			}()
		}
		return context.Cause(ctx)
	}
	if m.store.refusing() && !f.late || f.lost {
		return errBroken
	}
	ran := m.w.store.effects()
	err := run()
	if m.w.store.fatal(statement, ran) && !m.gone() {
		m.crash()
		m.w.wanted.Add(1)
		return errBroken
	}
	if f.unanswered || m.store.refusing() {
		return errBroken
	}
	if !m.store.pass(f.answerDelay, ctx.Done()) {
		return context.Cause(ctx)
	}
	return err
}

// order does what a person asks for, if there is something to ask it for.
func (s *store) order(o *order) {
	s.arm(o.dies)
	var id int64
	var err error
	switch o.kind {
	case "retry", "amend parked", "replay together", "pause operation", "resume operation", "cancel operation":
		id, err = s.command(o)
	case "hold", "release":
		n := o.n % s.w.p.resources()
		resource := fmt.Sprintf("r%d", n)
		partition := partitionOf(resource, s.w.partitions)
		if o.kind == "hold" {
			id, err = s.Hold(group, resource, "as planned", partition)
		} else {
			id, err = s.Release(group, resource, "as planned", memory.AnyPartition)
		}
	case "pause":
		until := time.Time{}
		if o.lasts > 0 {
			until = time.Now().Add(o.lasts)
		}
		err = s.PauseConsumer(group, "as planned", routes[o.n%len(routes)], until, true)
	case "resume":
		err = s.ResumeConsumer(group, "as planned", routes[o.n%len(routes)])
	default:
		open := s.open()
		if len(open) == 0 {
			return
		}
		letter := open[o.n%len(open)]
		switch o.kind {
		case "replay":
			id, err = s.Replay(letter.ID, "as planned")
		case "discard":
			id, err = s.Discard(letter.ID, "as planned")
		case "amend":
			_, err = s.Amend(letter.ID, fmt.Appendf(nil, "amended %d", o.n), "as planned", letter.Version-o.n%2)
		default:
			id, err = s.Advance(letter.ID, "as planned")
		}
	}
	s.w.logs.say("-- a person: %s %d: command %d, %v", o.kind, o.n, id, err)
}

// routes are those that a person can pause; an empty one stands for all.
var routes = []string{"", "pay", "*"}

// open are the letters that somebody can still decide about.
func (s *store) open() []memory.Letter {
	return slices.DeleteFunc(s.Letters(), func(l memory.Letter) bool { return l.State != dls.Dead && l.State != dls.Awaiting })
}

// mend resumes what is paused, releases what is held by hand, and decides about most letters.
func (s *store) mend() {
	for _, route := range routes {
		_ = s.ResumeConsumer(group, "mended", route)
	}
	s.arm("")
	for _, op := range s.ops {
		_ = s.ResumeOperation(op)
	}
	for _, r := range s.Resources() {
		if r.Hand {
			_, _ = s.Release(group, r.Resource, "mended", r.Partition)
		}
	}
	for _, c := range s.Commands() {
		if c.Kind == ordering.HoldByHand && !c.Executed {
			_, _ = s.Release(group, c.Resource, "mended", c.Partition)
		}
	}
	for i, l := range s.open() {
		switch i % 5 {
		case 0:
		case 1:
			_, _ = s.Discard(l.ID, "mended")
		default:
			_, _ = s.Replay(l.ID, "mended")
		}
	}
}

// replayAll has all letters run again that somebody can still decide about.
func (s *store) replayAll() {
	for _, l := range s.open() {
		_, _ = s.Replay(l.ID, "all is mended")
	}
}

// waiting says what a person has asked for and is not done, or has held and not released.
func (s *store) waiting() string {
	for _, c := range s.Commands() {
		if !c.Executed {
			return fmt.Sprintf("command %d waits", c.ID)
		}
	}
	for _, r := range s.Resources() {
		if r.Hand {
			return fmt.Sprintf("%q is held by hand", r.Resource)
		}
	}
	return ""
}

// states are where events are stored now.
func (s *store) states() map[verify.Position]verify.State {
	out := map[verify.Position]verify.State{}
	type key struct {
		partition int32
		resource  string
	}
	held := map[key]bool{}
	for _, r := range s.Resources() {
		held[key{r.Partition, r.Resource}] = r.Letter != 0 || r.Hand
	}
	for _, r := range s.Resources() { // what waits for another partition is held if it is held there
		if r.Behind != 0 && held[key{r.Behind.Partition(), r.Resource}] {
			held[key{r.Partition, r.Resource}] = true
		}
	}
	for _, l := range s.Letters() {
		at := s.w.names.position(l.Position.Topic, l.Partition, l.Position.Offset)
		switch l.State {
		case dls.Dead, dls.Awaiting:
			out[at] = verify.StateDead
		case dls.Healed:
			out[at] = verify.StateHealed
		case dls.Discarded:
			out[at] = verify.StateDiscarded
		case dls.Replaying:
			out[at] = verify.StateParked
		}
	}
	for _, x := range s.Waiting() {
		at := s.w.names.position(x.Position.Topic, x.Partition, x.Position.Offset)
		out[at] = verify.StateParked
		if held[key{x.Partition, x.Resource}] {
			out[at] = verify.StateHeld
		}
	}
	return out
}

// conclude notes what nobody noticed, and where each event is at the end.
func (s *store) conclude() {
	s.unnoticed()
	for at, state := range s.states() {
		s.w.journal.add(verify.Entry{Kind: verify.KindStored, Topic: at.Topic, Partition: at.Partition, Offset: at.Offset, State: state})
	}
}
