package admin

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/layby-go/layby/dls"
)

// Letter is a dead letter as lists show it.
type Letter struct {
	ID          int64      `json:"id" doc:"For life, through replays too."`
	Consumer    string     `json:"consumer"`
	Partition   int32      `json:"partition"`
	Seq         int64      `json:"seq" doc:"Its place in the order of the partition."`
	Resource    Bytes      `json:"resource"`
	Topic       string     `json:"topic"`
	Offset      int64      `json:"offset"`
	Type        string     `json:"type"`
	State       string     `json:"state" enum:"dead,awaiting correction,replaying,healed,discarded"`
	Policy      string     `json:"policy" enum:"hold,advance" doc:"hold: later events of the resource wait behind this one."`
	Attempt     int        `json:"attempt" doc:"Handler starts over its whole life."`
	Deaths      int        `json:"deaths"`
	Version     int        `json:"version" doc:"Of its bytes: 0 for the record as it came, more when it was amended."`
	Class       string     `json:"error_class"`
	Error       string     `json:"error"`
	Fingerprint string     `json:"fingerprint"`
	Instance    string     `json:"instance,omitempty" doc:"The process that gave it up."`
	FirstFailed time.Time  `json:"first_failed_at"`
	Failed      time.Time  `json:"failed_at"`
	Settled     *time.Time `json:"settled_at,omitempty" doc:"When it healed or was discarded."`
}

func viewLetter(l *dls.Letter) Letter {
	return Letter{
		ID: l.ID, Consumer: l.Consumer, Partition: l.Partition, Seq: l.Seq, Resource: Bytes(l.Resource), Topic: l.Topic, Offset: l.Offset,
		Type: l.Type, State: string(l.State), Policy: l.Policy, Attempt: l.Attempt, Deaths: l.Deaths, Version: l.Version, Class: l.Class,
		Error: l.Text, Fingerprint: l.Fingerprint, Instance: l.Instance, FirstFailed: utc(l.FirstFailed), Failed: utc(l.Failed),
		Settled: utcOrNil(l.Settled),
	}
}

// LetterDetail is all of a dead letter.
type LetterDetail struct {
	Letter

	Timestamp *time.Time      `json:"timestamp,omitempty" doc:"The record's; one that no calendar has is shown as the nearest."`
	HasBytes  bool            `json:"has_bytes" doc:"false when its bytes could be read from nowhere, or were erased."`
	Erased    *time.Time      `json:"erased_at,omitempty" doc:"When somebody had its bytes and texts erased."`
	Imported  *time.Time      `json:"imported_at,omitempty" doc:"When it came from an export."`
	Key       NullBytes       `json:"key"`
	Value     *Value          `json:"value"`
	Headers   []Header        `json:"headers" nullable:"false"`
	Chain     []string        `json:"error_chain" nullable:"false" doc:"Texts of the wrapped errors, outermost first."`
	Details   json.RawMessage `json:"error_details,omitempty" doc:"What the handler gave along: JSON, or a text when it is none."`
	Stack     string          `json:"stack,omitempty" doc:"Of a panic."`
	Attempts  []Attempt       `json:"attempts" nullable:"false"`
	Behind    Behind          `json:"behind" doc:"The events that wait until it is settled."`
}

// Attempt is one failed start of a handler.
type Attempt struct {
	Attempt  int       `json:"attempt"`
	Started  time.Time `json:"started_at"`
	Took     string    `json:"took"`
	Tier     string    `json:"tier,omitempty" doc:"That it waited in before."`
	Class    string    `json:"error_class"`
	Error    string    `json:"error"`
	Stack    string    `json:"stack,omitempty"`
	Instance string    `json:"instance,omitempty"`
}

// Behind are events that wait.
type Behind struct {
	Events int    `json:"events"`
	Exact  bool   `json:"exact" doc:"false when there are more."`
	First  string `json:"first,omitempty" doc:"topic/partition@offset"`
}

func viewDetail(d *dls.Detail, as string) LetterDetail {
	v := LetterDetail{
		Letter: viewLetter(&d.Letter), Timestamp: utcOrNil(d.Event.Timestamp), HasBytes: d.HasBytes, Erased: utcOrNil(d.Erased), Imported: utcOrNil(d.Imported), Key: NullBytes(d.Event.Key),
		Value: viewValue(d.Event.Value, as), Headers: viewHeaders(d.Event.Headers), Chain: empty(d.Chain), Stack: d.Stack, Attempts: []Attempt{},
		Behind: Behind{min(d.Behind.Events, dls.BehindCap-1), d.Behind.Events < dls.BehindCap, d.Behind.First},
	}
	switch {
	case d.Details == "":
	case json.Valid([]byte(d.Details)) && utf8.ValidString(d.Details):
		v.Details = json.RawMessage(d.Details)
	default:
		v.Details, _ = json.Marshal(d.Details) // a string always encodes
	}
	for _, at := range d.Attempts {
		v.Attempts = append(v.Attempts, Attempt{
			at.Attempt, utc(at.Started), at.Took.String(), at.Tier, at.Class, at.Text, at.Stack, at.Instance,
		})
	}
	return v
}

// Happening is one thing that happened to a letter.
type Happening struct {
	At       time.Time `json:"at"`
	What     string    `json:"what" doc:"first seen, attempt, died, replay asked for, amended, healed, ..."`
	Attempt  int       `json:"attempt,omitempty"`
	Tier     string    `json:"tier,omitempty"`
	Took     string    `json:"took,omitempty"`
	Class    string    `json:"error_class,omitempty"`
	Error    string    `json:"error,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Who      string    `json:"who,omitempty" doc:"The database user."`
	Actor    string    `json:"actor,omitempty" doc:"The person."`
	Reason   string    `json:"reason,omitempty"`
	Result   string    `json:"result,omitempty"`
}

func viewHappening(h *dls.Happening) Happening {
	v := Happening{
		At: utc(h.At), What: h.What, Attempt: h.Attempt, Tier: h.Tier, Class: h.Class, Error: h.Text, Instance: h.Instance,
		Who: h.Who, Actor: h.Actor, Reason: h.Reason, Result: h.Result,
	}
	if h.What == "attempt" {
		v.Took = h.Took.String()
	}
	return v
}

// Version is one version of a letter's bytes.
type Version struct {
	Version   int        `json:"version" doc:"0 is the record as it came."`
	Key       NullBytes  `json:"key"`
	Value     *Value     `json:"value"`
	Headers   []Header   `json:"headers" nullable:"false"`
	Timestamp *time.Time `json:"timestamp,omitempty"`
	Who       string     `json:"who,omitempty" doc:"The database user."`
	Actor     string     `json:"actor,omitempty" doc:"The person."`
	Reason    string     `json:"reason"`
	Made      time.Time  `json:"made_at"`
}

func viewVersion(v *dls.Version, as string) Version {
	return Version{
		v.Version, NullBytes(v.Key), viewValue(v.Value, as), viewHeaders(v.Headers), utcOrNil(v.Timestamp), v.Who, v.Actor, v.Reason, utc(v.Made),
	}
}

// Group are letters of one kind of error.
type Group struct {
	Consumer       string    `json:"consumer"`
	Fingerprint    string    `json:"fingerprint"`
	Class          string    `json:"error_class"`
	Open           int64     `json:"open" doc:"Dead, awaiting correction or replaying."`
	Total          int64     `json:"total"`
	Dead           int64     `json:"dead"`
	Awaiting       int64     `json:"awaiting_correction"`
	Replaying      int64     `json:"replaying"`
	Healed         int64     `json:"healed"`
	Discarded      int64     `json:"discarded"`
	FirstSeen      time.Time `json:"first_seen"`
	LastSeen       time.Time `json:"last_seen"`
	Resources      int64     `json:"resources" doc:"That ever had a letter in the group."`
	ResourcesExact bool      `json:"resources_exact" doc:"false when resources is an estimate."`
	Sample         int64     `json:"sample_id" doc:"The letter that came into the group last."`
	Error          string    `json:"sample_error"`
}
