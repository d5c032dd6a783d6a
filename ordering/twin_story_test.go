package ordering

import (
	"fmt"
	"strings"
)

// story tells what happens to a lane and what it does. A nil story tells nothing.
type story struct{ strings.Builder }

func (s *story) happens(format string, args ...any) {
	if s != nil {
		fmt.Fprintf(s, "\n     ** "+format, args...)
	}
}

// inputs tells what a step hands over.
func (s *story) inputs(g *rig, in *Inputs) {
	if s == nil {
		return
	}
	say := func(format string, args ...any) { fmt.Fprintf(s, "; "+format, args...) }
	fmt.Fprintf(s, "\n%v", g.now.Sub(twinStart))
	for _, w := range in.Fetched {
		say("%s of %s, route %d", w.Event.Value, w.Event.Resource, w.Route)
		if w.Fault != nil {
			say("which can't run")
		}
	}
	for _, r := range in.Results {
		say("%s ends: %s", r.Work.Event.Value, verdictText[r.Verdict])
		if f := r.Failure; f != nil && (f.After > 0 || f.AfterDeath != PolicyDefault) {
			say("after %v, policy %d", f.After, f.AfterDeath)
		}
	}
	for _, w := range in.Returned {
		say("the handler of %s returns", w.Event.Value)
	}
	for _, c := range in.Copies {
		say("#%d is read: %v", c.Seq, c.Err)
	}
	for _, a := range in.Acks {
		say("produce #%d.%d: %s @%d", a.Seq, a.Produce, []string{"acknowledged", "refused", "unknown"}[a.Outcome], a.Offset)
	}
	for _, t := range in.Tier {
		say("tier %d@%d is #%d", t.Tier, t.Offset, t.Seq)
	}
	for _, c := range in.Commands {
		say("command %d", c.ID)
	}
	for _, x := range in.Gates {
		say("gate %d is %s", x.Route, []string{"open", "closed", "probed"}[x.State])
	}
	if in.Written != nil {
		say("v%d is written", in.Written.Version)
	}
	if in.Committed != nil {
		say("%v is committed", *in.Committed)
	}
	if len(in.Unlocked) > 0 {
		say("the old handlers of %v return", in.Unlocked)
	}
	for text, is := range map[string]bool{
		"Postgres is away": in.StoreAway, "Postgres is back": in.StoreBack, "the tiers are read": in.TiersRead, "STOP": in.Stop,
	} {
		if is {
			say("%s", text)
		}
	}
}

// actions goes on with what the lane does.
func (s *story) actions(g *rig, out *Actions) {
	if s == nil {
		return
	}
	say := func(format string, args ...any) { fmt.Fprintf(s, "\n        -> "+format, args...) }
	for _, w := range out.Run {
		say("runs %s, attempt %d", w.Event.Value, w.Event.Attempt)
	}
	if w := out.Write; w != nil {
		say("writes v%d: %s", w.Version+1, writeText(w))
	}
	for _, p := range out.Produce {
		say("produces %s as #%d.%d to tier %d", p.Work.Event.Value, p.Seq, p.Number, p.Tier)
	}
	for _, r := range out.Read {
		say("reads #%d, %s@%d (%s)", r.Row.Seq, r.Row.Topic, r.Row.Position.Offset, copyText(r.Row.Copy, r.Source))
	}
	if out.Pause != nil {
		say("pauses: %q", out.Pause.Reason)
	}
	if out.Marked {
		say("marks %v", g.lane.Marks())
	}
}

func writeText(b *Write) string {
	var o []string
	say := func(format string, args ...any) { o = append(o, fmt.Sprintf(format, args...)) }
	say("drop %v", b.Drop)
	for i := range b.Reserve {
		r := &b.Reserve[i].Row
		say("reserve %s@%d as #%d, attempt %d, spent %d, %s", r.Topic, r.Position.Offset, r.Seq, r.Attempt, r.Spent, copyText(r.Copy, false))
	}
	for _, u := range b.Update {
		say("update #%d, attempt %d, spent %d", u.Seq, u.Attempt, u.Spent)
	}
	for _, p := range b.Pointers {
		say("pointer #%d %s", p.Seq, copyText(p.Copy, false))
	}
	for _, x := range b.Bodies {
		say("body #%d", x.Seq)
	}
	for i := range b.Letters {
		l := &b.Letters[i]
		say("letter %s@%d #%d (%s), policy %d", l.Row.Topic, l.Row.Position.Offset, l.Row.Seq, l.Failure.Class, l.Policy)
	}
	for _, r := range b.Remove {
		say("remove #%d", r.Seq)
	}
	for i := range b.Resources {
		say("%s: %s", b.Resources[i].Resource, stateText(&b.Resources[i]))
	}
	for _, c := range b.Commands {
		say("command %d #%d", c.Command.ID, c.Seq)
	}
	return strings.Join(o, ", ")
}

var verdictText = map[Verdict]string{
	NotRun: "not run", Success: "success", Retriable: "retriable", Permanent: "permanent", NeedsCorrection: "needs correction",
	Unavailable: "unavailable", Stuck: "stuck",
}
