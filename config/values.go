package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Ordering is how much order a consumer keeps.
type Ordering string

// The orderings.
const (
	Park  Ordering = "park"  // in order per resource; what fails is parked
	Block Ordering = "block" // in order per partition; what fails holds it up
	None  Ordering = "none"  // each event for itself
)

// Isolation says whether records of open or aborted transactions are read.
type Isolation string

// The isolation levels.
const (
	ReadCommitted   Isolation = "read_committed"
	ReadUncommitted Isolation = "read_uncommitted"
)

// OnOffsetsLost is what happens when records were deleted before they were read.
type OnOffsetsLost string

// The reactions to lost offsets.
const (
	StopWhenLost     OnOffsetsLost = "stop"
	EarliestWhenLost OnOffsetsLost = "earliest"
)

// WhenFull is what happens to the events that fill max_span.
type WhenFull string

// The reactions to a full span.
const (
	ParkWhenFull  WhenFull = "park"
	PauseWhenFull WhenFull = "pause"
)

// Unrouted is what becomes of an event that no route takes.
type Unrouted string

// The fates of an unrouted event.
const (
	UnroutedDeadLetter Unrouted = "dead_letter"
	UnroutedSkip       Unrouted = "skip"
)

// Policy says what a dead letter does to the later events of its resource.
type Policy string

// The policies.
const (
	Hold    Policy = "hold"
	Advance Policy = "advance"
)

// AfterDeadLetter maps event types to policies. Its key "default" is for every other type and always there.
type AfterDeadLetter map[string]Policy

// defaultKey is for the event types that a mapping by event type does not name.
const defaultKey = "default"

// For returns the policy of an event type.
func (a AfterDeadLetter) For(eventType string) Policy {
	if p, ok := a[eventType]; ok {
		return p
	}
	return a[defaultKey]
}

// Keep maps event types to how long their settled letters are kept. Its key "default" is for every other type and always there.
type Keep map[string]KeepTime

const defaultKeep = "720h"

// Default is the time of the event types that have none of their own.
func (k Keep) Default() KeepTime { return k[defaultKey] }

// KeepTime is how long something is kept, or Forever.
type KeepTime time.Duration

// Forever is the time of what is never purged.
const Forever KeepTime = math.MaxInt64

const forever = "forever"

// UnmarshalText reads a duration of a second or more, or forever.
func (k *KeepTime) UnmarshalText(text []byte) error {
	if string(text) == forever {
		*k = Forever
		return nil
	}
	d, err := parseDuration(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("%w, or forever", err)
	case d < time.Second:
		return fmt.Errorf("%s is too short: write 1s or more, or forever", text)
	}
	*k = KeepTime(d)
	return nil
}

// String returns the form that UnmarshalText reads.
func (k KeepTime) String() string {
	if k == Forever {
		return forever
	}
	return formatDuration(time.Duration(k))
}

// Tier is one delay of the retry ladder.
type Tier struct {
	Delay    time.Duration `yaml:"delay" required:"true" min:"1ms" doc:"Wait before the event is tried again."`
	Attempts int           `yaml:"attempts" default:"1" min:"1" doc:"Runs that the tier gives before the next one takes over."`
}

// Start says where a partition without committed offsets begins. The zero value is the earliest record.
type Start struct {
	Latest bool      // begin behind the last record
	At     time.Time // begin at the first record of this time; zero if unused
}

// UnmarshalText reads earliest, latest or an RFC 3339 time.
func (s *Start) UnmarshalText(text []byte) error {
	switch string(text) {
	case "earliest":
		*s = Start{}
	case "latest":
		*s = Start{Latest: true}
	default:
		at, err := time.Parse(time.RFC3339, string(text))
		if err != nil {
			return fmt.Errorf("%q is no start: write earliest, latest, or a time such as 2026-01-31T00:00:00Z", text)
		}
		*s = Start{At: at}
	}
	return nil
}

// String returns the form that UnmarshalText reads.
func (s Start) String() string {
	switch {
	case s.Latest:
		return "latest"
	case !s.At.IsZero():
		return s.At.Format(time.RFC3339Nano)
	}
	return "earliest"
}

// Source is the part of a record that a Selector looks at.
type Source uint8

// The sources. The zero value is for a selector that was not set.
const (
	FromNothing Source = iota
	FromKey
	FromHeader
	FromJSON
)

// Selector names the place of a value in a record.
type Selector struct {
	From Source
	Name string // the header's name, or the JSON pointer
}

// UnmarshalText reads key, header:<name> or json:<pointer>.
func (s *Selector) UnmarshalText(text []byte) error {
	kind, name, _ := strings.Cut(string(text), ":")
	switch {
	case string(text) == "key":
		*s = Selector{From: FromKey}
	case kind == "header" && name != "":
		*s = Selector{From: FromHeader, Name: name}
	case kind == "json" && strings.HasPrefix(name, "/"):
		if err := checkPointer(name); err != nil {
			return err
		}
		*s = Selector{From: FromJSON, Name: name}
	case kind == "json":
		return fmt.Errorf("%q is no JSON pointer: write for example json:/order/id", name)
	default:
		return fmt.Errorf("%q names no part of a record: write header:<name> or json:/path/to/field", text)
	}
	return nil
}

// String returns the form that UnmarshalText reads; it is empty for the zero value.
func (s Selector) String() string {
	switch s.From {
	case FromKey:
		return "key"
	case FromHeader:
		return "header:" + s.Name
	case FromJSON:
		return "json:" + s.Name
	case FromNothing:
	}
	return ""
}

// checkPointer refuses escapes that RFC 6901 doesn't know.
func checkPointer(pointer string) error {
	for i := range len(pointer) {
		if pointer[i] == '~' && (i+1 == len(pointer) || pointer[i+1] != '0' && pointer[i+1] != '1') {
			return fmt.Errorf("%q is no JSON pointer: write ~0 for ~ and ~1 for / in a name", pointer)
		}
	}
	return nil
}

// Size is a number of bytes.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"kB", 1e3},
	{"B", 1},
}

var errSize = errors.New("a size is a whole number with a unit: write for example 64MiB, 500KB or 1GiB")

// UnmarshalText reads a whole number with a unit; without a unit it counts bytes.
func (s *Size) UnmarshalText(text []byte) error {
	digits, unit := strings.TrimSpace(string(text)), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(digits, u.name); ok {
			digits, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return fmt.Errorf("%q: %w", text, errSize)
	}
	*s = Size(n * unit)
	return nil
}

// String returns the size with the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 && u.name != "B" {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Secret is a text that must not be shown. However it is formatted, logged or marshalled, only its mask appears.
type Secret string

// Mask stands for a secret wherever it would be shown.
const Mask = "******"

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns the mask, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Mask
}

// Format writes the mask, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText returns the mask.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// parseDuration reads a duration such as 100ms, 1m30s or 24h.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil {
		return d, nil
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, fmt.Errorf("%s has no unit: write %[1]ss for seconds or %[1]sms for milliseconds", text)
	}
	if days, err := strconv.Atoi(strings.TrimSuffix(text, "d")); err == nil && days > 0 && days < 10_000 {
		return 0, fmt.Errorf("%s: days are no unit here: write %dh", text, days*24)
	}
	return 0, fmt.Errorf("%q is no duration: write for example 100ms, 30s, 1m30s or 24h", text)
}

// formatDuration returns the short form: 1m, not 1m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
