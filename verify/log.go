package verify

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Kind says what an entry tells of.
type Kind string

// The kinds of entries, and the fields that each needs beside "kind" and "at".
const (
	// KindProduced: topic, partition, offset and resource of an event; sum, if bytes are to be compared.
	KindProduced Kind = "produced"
	// KindStarted: call, member, topic, partition and offset; attempt, token and sum, if they are known.
	KindStarted Kind = "started"
	// KindEnded: call and outcome.
	KindEnded Kind = "ended"
	// KindCancelled: call, whose handler was told to stop. It runs on until it has ended.
	KindCancelled Kind = "cancelled"
	// KindCommitted: topic, partition and offset, which is that of the next record, as Kafka commits it.
	KindCommitted Kind = "committed"
	// KindParked: topic, partition and offset of an event that is parked, durably: its offset may be committed.
	KindParked Kind = "parked"
	// KindRecorded: topic, partition and offset of a parked event whose success is stored.
	KindRecorded Kind = "recorded"
	// KindJoined: a member that writes down all that it does from here on. If it has not stopped by the end of the log, it
	// crashed after its last line.
	KindJoined Kind = "joined"
	// KindCrashed: a member that ended without having stopped.
	KindCrashed Kind = "crashed"
	// KindFrozen: a member that does not run, until it is thawed.
	KindFrozen Kind = "frozen"
	// KindThawed: a member that runs again.
	KindThawed Kind = "thawed"
	// KindCut: a member that cannot reach the servers, or not well: it may lose its lease, which counts as a crash.
	KindCut Kind = "cut"
	// KindReached: a member that reaches the servers again, and has had the time to find out where it stands.
	KindReached Kind = "reached"
	// KindPassed: topic, partition and offset of an event that later ones of its resource need not wait for: a dead letter
	// under the policy advance, or one that a person advanced past or discarded.
	KindPassed Kind = "passed"
	// KindAmended: topic, partition, offset and sum of an event whose bytes a person corrected: runs from then on have the new ones. Without a sum
	// these are not known.
	KindAmended Kind = "amended"
	// KindHurried: topic, partition and offset of an event that a person has tried again without waiting for its delay.
	KindHurried Kind = "hurried"
	// KindExecuted: command, which had an effect.
	KindExecuted Kind = "executed"
	// KindPaused: member, topic and partition that it does not read for a while; reason, if it is known.
	KindPaused Kind = "paused"
	// KindResumed: member, topic and partition.
	KindResumed Kind = "resumed"
	// KindStopped: a member that stopped in order.
	KindStopped Kind = "stopped"
	// KindMended: from now on all that calls and servers need is there.
	KindMended Kind = "mended"
	// KindGrown: topic. It has more partitions from now on: of a resource that goes to another one, what was produced before
	// comes before what is produced from now on.
	KindGrown Kind = "grown"
	// KindRewound: topic, partition and offset. A person has all from there on run again, in order.
	KindRewound Kind = "rewound"
	// KindDeleted: topic, partition and offset. The source's records below it are gone: what the group had not committed of
	// them can't be asked of the consumer any more.
	KindDeleted Kind = "deleted"
	// KindLost: partition and resource, of which Postgres lost what had been committed last: it may run again, and what was
	// parked, dead or executed may not be so any more. Without a resource it is about the partition itself: it is taken up as
	// if its owner had crashed, and commits may go back.
	KindLost Kind = "lost"
	// KindBroken: something that calls or servers need is not there, until all is mended.
	KindBroken Kind = "broken"
	// KindStored: topic, partition, offset and state of an event at the end of the run.
	KindStored Kind = "stored"
)

// Outcome is how a call of a handler ended.
type Outcome string

// The outcomes of calls.
const (
	OutcomeSucceeded   Outcome = "succeeded"
	OutcomeFailed      Outcome = "failed"      // for the event's reasons: it spends an attempt
	OutcomeUnavailable Outcome = "unavailable" // for the dependency's reasons: it spends none
	OutcomeCancelled   Outcome = "cancelled"   // by the consumer itself: it spends none
)

// State is where an event is stored at the end of a run.
type State string

// The states of stored events.
const (
	StateParked    State = "parked" // waits for an attempt, also one that is being replayed
	StateHeld      State = "held"   // waits behind a dead letter
	StateDead      State = "dead"   // also one that awaits correction
	StateHealed    State = "healed" // a dead letter whose replay succeeded
	StateDiscarded State = "discarded"
)

// Entry is a line of the log. Fields that a kind does not need are left out.
type Entry struct {
	Kind Kind `json:"kind"`
	// At is the time on the clock of who wrote the line. Lines of several files are put in order by it; within a file, the
	// order of the lines is the order in which things happened.
	At time.Time `json:"at"`

	Topic     string `json:"topic,omitempty"`
	Partition int32  `json:"partition,omitempty"`
	Offset    int64  `json:"offset,omitempty"`
	Resource  string `json:"resource,omitempty"`
	// Sum stands for the event's bytes: key, value, headers and timestamp, in any digest that the whole log uses.
	Sum string `json:"sum,omitempty"`

	Member string `json:"member,omitempty"`
	// Call is the name of one run of a handler, the same for its start and its end, and in no other.
	Call string `json:"call,omitempty"`
	// Attempt counts from 1; 0 is not known.
	Attempt int `json:"attempt,omitempty"`
	// Token is the fencing token of the partition's owner; 0 is not known.
	Token   int64   `json:"token,omitempty"`
	Outcome Outcome `json:"outcome,omitempty"`
	State   State   `json:"state,omitempty"`
	Command string  `json:"command,omitempty"`
	Reason  string  `json:"reason,omitempty"`
}

// position of the event that the entry is about.
func (e *Entry) position() Position { return Position{e.Topic, e.Partition, e.Offset} }

// maxLine bounds a line of the log, in bytes.
const maxLine = 1 << 20

// Read reads a log of JSON lines. Empty lines are passed over. An error names the line.
func Read(r io.Reader) ([]Entry, error) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLine)
	var log []Entry
	n := 0
	for scanner.Scan() {
		n++
		line := bytes.TrimSpace(scanner.Bytes())
		if len(line) == 0 {
			continue
		}
		e, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		log = append(log, e)
	}
	if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d is longer than %d bytes", n+1, maxLine)
	} else if err != nil {
		return nil, fmt.Errorf("after line %d: %w", n, err)
	}
	return log, nil
}

// Write writes a log as Read reads it.
func Write(w io.Writer, log []Entry) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	for i := range log {
		if err := enc.Encode(&log[i]); err != nil {
			return err
		}
	}
	return b.Flush()
}

func parse(line []byte) (Entry, error) {
	var e Entry
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return e, fmt.Errorf("no entry: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return e, errors.New("more than one entry in a line")
	}
	return e, e.valid()
}

// valid says what is missing or wrong in an entry.
func (e *Entry) valid() error {
	var needsEvent, needsCall, needsMember bool
	switch e.Kind {
	case KindProduced, KindCommitted, KindParked, KindRecorded, KindPassed, KindHurried, KindAmended, KindRewound, KindDeleted:
		needsEvent = true
	case KindStarted:
		needsEvent, needsCall, needsMember = true, true, true
	case KindCancelled:
		needsCall = true
	case KindEnded:
		needsCall = true
		if !slices.Contains([]Outcome{OutcomeSucceeded, OutcomeFailed, OutcomeUnavailable, OutcomeCancelled}, e.Outcome) {
			return fmt.Errorf("unknown outcome %q", e.Outcome)
		}
	case KindJoined, KindCrashed, KindFrozen, KindThawed, KindCut, KindReached, KindStopped:
		needsMember = true
	case KindPaused, KindResumed:
		needsEvent, needsMember = true, true // a partition of a topic: its offset is not looked at
	case KindMended, KindBroken, KindLost:
	case KindGrown:
		if e.Topic == "" {
			return fmt.Errorf("%s without a topic", e.Kind)
		}
	case KindExecuted:
		if e.Command == "" {
			return fmt.Errorf("%s without a command", e.Kind)
		}
	case KindStored:
		needsEvent = true
		if !slices.Contains([]State{StateParked, StateHeld, StateDead, StateHealed, StateDiscarded}, e.State) {
			return fmt.Errorf("unknown state %q", e.State)
		}
	default:
		return fmt.Errorf("unknown kind %q", e.Kind)
	}
	switch {
	case e.At.IsZero():
		return fmt.Errorf("%s without a time (at)", e.Kind)
	case needsEvent && e.Topic == "":
		return fmt.Errorf("%s without a topic", e.Kind)
	case e.Partition < 0 || e.Offset < 0:
		return fmt.Errorf("%s at the negative position %v", e.Kind, e.position())
	case needsCall && e.Call == "":
		return fmt.Errorf("%s without a call", e.Kind)
	case needsMember && e.Member == "":
		return fmt.Errorf("%s without a member", e.Kind)
	}
	return nil
}

// Merge puts the logs of several writers in the order of their times. The clocks must agree to less than what the log is
// to tell apart; entries of one log stay in their order.
func Merge(logs ...[]Entry) []Entry {
	var out []Entry
	at := make([]int, len(logs))
	for {
		next := -1
		for i, log := range logs {
			if at[i] < len(log) && (next < 0 || log[at[i]].At.Before(logs[next][at[next]].At)) {
				next = i
			}
		}
		if next < 0 {
			return out
		}
		out = append(out, logs[next][at[next]])
		at[next]++
	}
}
