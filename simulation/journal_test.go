package simulation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/verify"
)

// journal is what happened, in order. It is safe for concurrent use.
type journal struct {
	mu    sync.Mutex
	log   []verify.Entry
	calls int
	ok    map[verify.Position]bool
	runs  map[verify.Position]int
}

func newJournal() *journal {
	return &journal{ok: map[verify.Position]bool{}, runs: map[verify.Position]int{}}
}

func (j *journal) add(e verify.Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.At = time.Now()
	j.log = append(j.log, e)
}

// started notes a handler's start, and returns the call's name and how often the event ran before.
func (j *journal) started(member string, at verify.Position, e *layby.Event) (call string, runs int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls++
	call = strconv.Itoa(j.calls)
	runs = j.runs[at]
	j.runs[at]++
	j.log = append(j.log, verify.Entry{
		Kind: verify.KindStarted, At: time.Now(), Call: call, Member: member, Topic: at.Topic, Partition: at.Partition,
		Offset: at.Offset, Attempt: e.Attempt, Token: e.Token, Sum: sum(e.Key, e.Value, e.Headers, e.Timestamp),
	})
	return call, runs
}

func (j *journal) ended(call string, at verify.Position, o verify.Outcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.log = append(j.log, verify.Entry{Kind: verify.KindEnded, At: time.Now(), Call: call, Outcome: o})
	if o == verify.OutcomeSucceeded {
		j.ok[at] = true
	}
}

// again has it count for nothing that the events of a partition succeeded, from an offset on.
func (j *journal) again(from verify.Position) {
	j.mu.Lock()
	defer j.mu.Unlock()
	maps.DeleteFunc(j.ok, func(at verify.Position, _ bool) bool {
		return at.Topic == from.Topic && at.Partition == from.Partition && at.Offset >= from.Offset
	})
}

// insert notes what turned out later, as if it had been noted before the entry of an index.
func (j *journal) insert(index int, e verify.Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.At = time.Now()
	if index < len(j.log) {
		e.At = j.log[index].At
	}
	j.log = slices.Insert(slices.Clone(j.log), index, e)
}

func (j *journal) succeeded(at verify.Position) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ok[at]
}

func (j *journal) entries() []verify.Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.log[:len(j.log):len(j.log)]
}

// sum is a digest of all that must be kept of an event.
func sum(key, value []byte, headers []layby.Header, at time.Time) string {
	h := sha256.New()
	fmt.Fprintf(h, "%t %x %t %x %d", key == nil, key, value == nil, value, at.UnixMilli())
	for _, x := range headers {
		fmt.Fprintf(h, " %q %t %x", x.Key, x.Value == nil, x.Value)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
