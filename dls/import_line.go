package dls

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/layby-go/layby/internal/columns"
)

// importedSeq is added to the seq of a letter that is imported. Lanes give numbers from 1 on, so that it is nobody's here, and letters
// of one resource keep their order.
const importedSeq = -1 << 62

// importedOffset is above the offsets of submitted events that are imported. Such an event has minus the id of its command for an
// offset, which is another event's where other commands were counted.
const importedOffset = -1 << 62

// submittedOffset is the offset that a submitted event has when it is imported: always the same one of the same event.
func (l *line) submittedOffset() int64 {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %d ", l.Offset, l.FirstFailed.UnixMicro(), len(l.Resource))
	h.Write(l.Resource)
	n := binary.BigEndian.Uint64(h.Sum(nil)) >> 2 //nolint:mnd // 62 bits
	return importedOffset - 1 - int64(n)          //nolint:gosec // likewise
}

// parseLine reads a line of an export and checks it.
func parseLine(text []byte) (*line, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	l := &line{}
	if err := strictly(text, l); err != nil {
		return nil, err
	}
	return l, l.check()
}

func (l *line) check() error {
	if l.Format != lineFormat {
		return fmt.Errorf("layby_letter is %d: this version reads lines of format %d, which layby dls export writes", l.Format, lineFormat)
	}
	id, err := uuid.Parse(l.TopicID)
	var problem string
	switch {
	case l.Consumer == "" || columns.Text(l.Consumer, columns.Indexed) != l.Consumer:
		problem = fmt.Sprintf("consumer %.100q is none", l.Consumer)
	case l.Partition < 0:
		problem = fmt.Sprintf("partition %d is negative", l.Partition)
	case l.Resource == nil:
		problem = "resource is missing"
	case l.Topic == "":
		problem = "topic is missing"
	case err != nil || id.String() != l.TopicID:
		problem = fmt.Sprintf("topic_id %.100q is no UUID", l.TopicID)
	case !slices.Contains(States(), l.State):
		problem = fmt.Sprintf("state %.100q is none: %s", l.State, stateList())
	case l.Policy != "hold" && l.Policy != "advance":
		problem = fmt.Sprintf("policy %.100q is neither hold nor advance", l.Policy)
	case l.Attempt < 0, l.Version < 0, l.Deaths < 1:
		problem = fmt.Sprintf("attempt %d, deaths %d, version %d: an event died once or more", l.Attempt, l.Deaths, l.Version)
	case l.settled() != (l.Settled != nil):
		problem = fmt.Sprintf("settled_at does not fit the state %s", l.State)
	case !l.HasBytes && l.Value != nil:
		problem = "it has a value, and has_bytes is false"
	default:
		return errors.Join(l.checkTimes(), l.checkParts())
	}
	return errors.New(problem)
}

func (l *line) settled() bool { return l.State == Healed || l.State == Discarded }

func stateList() string { return fmt.Sprintf("%q", States()) }

// checkTimes refuses times that Postgres can't hold, and those that are missing.
func (l *line) checkTimes() error {
	times := []time.Time{l.FirstFailed, l.Failed}
	for _, at := range []*time.Time{l.Settled, l.Erased} {
		if at != nil {
			times = append(times, *at)
		}
	}
	for i := range l.Versions {
		times = append(times, l.Versions[i].Made)
	}
	for i := range l.Earlier {
		times = append(times, l.Earlier[i].Died)
	}
	for _, at := range times {
		if at.IsZero() || !columns.Time(at).Equal(at) {
			return fmt.Errorf("a time is missing or out of range: %v", at)
		}
	}
	for i := range l.Attempts { // that of one whose start nobody knows is in the year 1
		if at := l.Attempts[i].Started; !columns.Time(at).Equal(at) {
			return fmt.Errorf("the time of attempt %d is out of range: %v", l.Attempts[i].Attempt, at)
		}
	}
	return nil
}

// checkParts looks at what hangs on the letter.
func (l *line) checkParts() error {
	const longest = 1 << 53 // microseconds: some hundred years
	for _, a := range l.Attempts {
		if a.Attempt < 0 || a.TookUs < 0 || a.TookUs > longest {
			return fmt.Errorf("attempt %d took %d µs: neither is negative, nor takes centuries", a.Attempt, a.TookUs)
		}
	}
	versions, deaths := map[int32]bool{}, map[int32]bool{}
	for _, v := range l.Versions {
		if v.Version < 0 || v.Version > l.Version || versions[v.Version] {
			return fmt.Errorf("version %d comes twice, or is above the letter's %d", v.Version, l.Version)
		}
		versions[v.Version] = true
	}
	for _, d := range l.Earlier {
		if d.Death < 1 || d.Death >= l.Deaths || deaths[d.Death] {
			return fmt.Errorf("death %d of %d comes twice, or is none of the earlier ones", d.Death, l.Deaths)
		}
		deaths[d.Death] = true
	}
	return nil
}

// importRow is a letter as the function import_letters takes it.
type importRow struct {
	Consumer     string          `json:"consumer"`
	Partition    int32           `json:"partition"`
	Seq          int64           `json:"seq"`
	Resource     []byte          `json:"resource"`
	ResourceText *string         `json:"resource_text"`
	Topic        string          `json:"topic"`
	TopicID      string          `json:"topic_id"`
	Offset       int64           `json:"source_offset"`
	Submitted    *int64          `json:"submitted"` // the offset of a submitted event where it was exported
	LeaderEpoch  int32           `json:"leader_epoch"`
	Type         string          `json:"event_type"`
	State        State           `json:"state"`
	Policy       string          `json:"policy"`
	Attempt      int32           `json:"attempt"`
	Deaths       int32           `json:"deaths"`
	Version      int32           `json:"version"`
	Class        string          `json:"error_class"`
	Text         string          `json:"error_text"`
	Chain        []string        `json:"error_chain"`
	Details      *string         `json:"error_details"`
	Stack        *string         `json:"stack"`
	Fingerprint  string          `json:"fingerprint"`
	Instance     *string         `json:"instance"`
	FirstFailed  time.Time       `json:"first_failed_at"`
	Failed       time.Time       `json:"failed_at"`
	Settled      *time.Time      `json:"settled_at"`
	Erased       *time.Time      `json:"erased_at"`
	HasBytes     bool            `json:"has_bytes"`
	Key          []byte          `json:"key"`
	KeyText      *string         `json:"key_text"`
	Value        []byte          `json:"value"`
	Headers      rawJSON         `json:"headers"`
	HeadersRaw   []byte          `json:"headers_raw"`
	Timestamp    *int64          `json:"timestamp_ms"`
	EventTime    *time.Time      `json:"event_time"`
	Attempts     []lineAttempt   `json:"attempts"`
	Versions     []importVersion `json:"versions"`
	Earlier      []earlierDeath  `json:"earlier"`
}

type importVersion struct {
	Version    int32     `json:"version"`
	Key        []byte    `json:"key"`
	Value      []byte    `json:"value"`
	HeadersRaw []byte    `json:"headers_raw"`
	Timestamp  *int64    `json:"timestamp_ms"`
	Who        string    `json:"who"`
	Actor      *string   `json:"actor"`
	Reason     string    `json:"reason"`
	Made       time.Time `json:"made_at"`
}

// rawJSON is JSON as it is.
type rawJSON string

// MarshalJSON returns it.
func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// row is the letter as it comes in. One that is open is dead here, or awaits its correction, under the policy advance: it holds
// nothing, and a replay goes behind what its resource has waiting (G2).
func (l *line) row() *importRow {
	headers := headersOf(l.Headers)
	r := &importRow{
		Consumer: l.Consumer, Partition: l.Partition, Seq: l.Seq, Resource: l.Resource, ResourceText: columns.Readable([]byte(l.Resource)),
		Topic: columns.Text(l.Topic, 0), TopicID: l.TopicID, Offset: l.Offset, LeaderEpoch: l.LeaderEpoch, Type: columns.Text(l.Type, columns.Indexed),
		State: l.State, Policy: l.Policy, Attempt: l.Attempt, Deaths: l.Deaths, Version: l.Version,
		Class: columns.Text(l.Class, columns.Indexed), Text: columns.Text(l.Text, columns.LongText), Chain: make([]string, len(l.Chain)),
		Details: cleaned(l.Details, 0), Stack: cleaned(l.Stack, columns.LongText), Instance: cleaned(l.Instance, columns.Indexed),
		Fingerprint: columns.Text(l.Fingerprint, columns.Indexed), FirstFailed: l.FirstFailed, Failed: l.Failed, Settled: l.Settled, Erased: l.Erased,
		HasBytes: l.HasBytes, Key: l.Key, Value: l.Value, Headers: rawJSON(columns.ReadableHeaders(headers)), HeadersRaw: columns.EncodeHeaders(headers),
		Timestamp: l.Timestamp, Attempts: make([]lineAttempt, len(l.Attempts)), Versions: []importVersion{}, Earlier: make([]earlierDeath, len(l.Earlier)),
	}
	if r.Seq >= 0 {
		r.Seq += importedSeq
	}
	if l.Offset < 0 && l.Offset >= importedOffset {
		r.Submitted, r.Offset = &l.Offset, l.submittedOffset()
	}
	if !l.settled() {
		r.Policy = "advance"
		if l.State == Replaying {
			r.State = Dead
		}
	}
	if l.Key != nil {
		r.KeyText = columns.Readable([]byte(l.Key))
	}
	if r.Fingerprint == "" {
		r.Fingerprint = Fingerprint(r.Class, r.Text)
	}
	if l.Timestamp != nil {
		at := columns.Time(time.UnixMilli(*l.Timestamp)).UTC()
		r.EventTime = &at
	}
	for i := range l.Chain {
		r.Chain[i] = columns.Text(l.Chain[i], columns.ShortText)
	}
	for i, a := range l.Attempts {
		a.Tier, a.Class, a.Text = columns.Text(a.Tier, 0), columns.Text(a.Class, columns.Indexed), columns.Text(a.Text, columns.LongText)
		a.Stack, a.Instance = cleaned(a.Stack, columns.LongText), cleaned(a.Instance, columns.Indexed)
		r.Attempts[i] = a
	}
	for _, v := range l.Versions {
		r.Versions = append(r.Versions, importVersion{
			v.Version, v.Key, v.Value, columns.EncodeHeaders(headersOf(v.Headers)), v.Timestamp,
			columns.Text(v.Who, 0), cleaned(v.Actor, 0), columns.Text(v.Reason, 0), v.Made,
		})
	}
	for i, d := range l.Earlier {
		d.Class, d.Text, d.Instance = columns.Text(d.Class, columns.Indexed), columns.Text(d.Text, columns.LongText), cleaned(d.Instance, columns.Indexed)
		r.Earlier[i] = d
	}
	return r
}

func cleaned(s *string, limit int) *string {
	if s == nil {
		return nil
	}
	text := columns.Text(*s, limit)
	return &text
}
