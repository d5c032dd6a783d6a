package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/layby-go/layby/dls"
)

// letterView is a dead letter in JSON, as lists show it.
type letterView struct {
	ID          int64     `json:"id"`
	Consumer    string    `json:"consumer"`
	Partition   int32     `json:"partition"`
	Seq         int64     `json:"seq"`
	Resource    bytesView `json:"resource"`
	Topic       string    `json:"topic"`
	Offset      int64     `json:"offset"`
	Type        string    `json:"type"`
	State       string    `json:"state"`
	Policy      string    `json:"policy"`
	Attempt     int       `json:"attempt"`
	Deaths      int       `json:"deaths"`
	Version     int       `json:"version"`
	Class       string    `json:"error_class"`
	Text        string    `json:"error"`
	Fingerprint string    `json:"fingerprint"`
	Instance    string    `json:"instance,omitempty"`
	FirstFailed time.Time `json:"first_failed_at"`
	Failed      time.Time `json:"failed_at"`
	Settled     time.Time `json:"settled_at,omitzero"`
}

// detailView is all of a dead letter in JSON.
type detailView struct {
	letterView

	Timestamp time.Time       `json:"timestamp,omitzero"`
	HasBytes  bool            `json:"has_bytes"`
	Erased    time.Time       `json:"erased_at,omitzero"`
	Imported  time.Time       `json:"imported_at,omitzero"`
	Key       *bytesView      `json:"key"`
	Value     any             `json:"value"`
	Size      int             `json:"value_bytes"`
	Headers   []headerView    `json:"headers"`
	Chain     []string        `json:"error_chain"`
	Details   json.RawMessage `json:"error_details,omitempty"`
	Stack     string          `json:"stack,omitempty"`
	Attempts  []attemptView   `json:"attempts"`
	Behind    behindView      `json:"behind"`
}

// behindView are the events that wait until the letter is settled.
type behindView struct {
	Events int    `json:"events"`
	Exact  bool   `json:"exact"`
	First  string `json:"first,omitempty"`
}

// valueFormat is how a value is shown.
type valueFormat string

const (
	valueText valueFormat = "text"
	valueJSON valueFormat = "json"
	valueHex  valueFormat = "hex"
)

type headerView struct {
	Key   string     `json:"key"`
	Value *bytesView `json:"value"`
}

type attemptView struct {
	Attempt  int       `json:"attempt"`
	Started  time.Time `json:"started_at"`
	Took     string    `json:"took"`
	Tier     string    `json:"tier,omitempty"`
	Class    string    `json:"error_class"`
	Text     string    `json:"error"`
	Stack    string    `json:"stack,omitempty"`
	Instance string    `json:"instance,omitempty"`
}

// bytesView is bytes in JSON: a text, or {"base64": ...} when they are none.
type bytesView []byte

// MarshalJSON writes a text, or an object with the base64 form.
func (b bytesView) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string][]byte{"base64": b})
}

// bytesOrNull keeps the difference between nil and empty.
func bytesOrNull(b []byte) *bytesView {
	if b == nil {
		return nil
	}
	v := bytesView(b)
	return &v
}

func viewLetter(l *dls.Letter) letterView {
	return letterView{
		ID: l.ID, Consumer: l.Consumer, Partition: l.Partition, Seq: l.Seq, Resource: bytesView(l.Resource),
		Topic: l.Topic, Offset: l.Offset, Type: l.Type, State: string(l.State), Policy: l.Policy, Attempt: l.Attempt,
		Deaths: l.Deaths, Version: l.Version, Class: l.Class, Text: l.Text, Fingerprint: l.Fingerprint, Instance: l.Instance,
		FirstFailed: l.FirstFailed.UTC(), Failed: l.Failed.UTC(), Settled: utcOrZero(l.Settled),
	}
}

func utcOrZero(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

func viewDetail(d *dls.Detail, as valueFormat) detailView {
	v := detailView{
		letterView: viewLetter(&d.Letter), Timestamp: utcOrZero(d.Event.Timestamp), HasBytes: d.HasBytes,
		Erased: utcOrZero(d.Erased), Imported: utcOrZero(d.Imported),
		Key: bytesOrNull(d.Event.Key), Value: bytesOrNull(d.Event.Value), Size: len(d.Event.Value), Headers: []headerView{},
		Chain: append([]string{}, d.Chain...), Stack: d.Stack, Attempts: []attemptView{},
		Behind: behindView{Events: min(d.Behind.Events, dls.BehindCap-1), Exact: d.Behind.Events < dls.BehindCap, First: d.Behind.First},
	}
	switch {
	case d.Event.Value == nil:
	case as == valueJSON:
		v.Value = json.RawMessage(d.Event.Value)
	case as == valueHex:
		v.Value = hex.EncodeToString(d.Event.Value)
	}
	switch {
	case d.Details == "":
	case json.Valid([]byte(d.Details)):
		v.Details = json.RawMessage(d.Details)
	default:
		v.Details, _ = json.Marshal(d.Details)
	}
	for _, h := range d.Event.Headers {
		v.Headers = append(v.Headers, headerView{h.Key, bytesOrNull(h.Value)})
	}
	for _, at := range d.Attempts {
		v.Attempts = append(v.Attempts, attemptView{
			at.Attempt, at.Started.UTC(), at.Took.String(), at.Tier, at.Class, at.Text, at.Stack, at.Instance,
		})
	}
	return v
}

// writeDetail writes a letter for a person.
func writeDetail(w io.Writer, d *dls.Detail, as valueFormat) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-13s %s\n", name, printable(value))
		}
	}
	line("id", strconv.FormatInt(d.ID, 10))
	line("state", string(d.State))
	switch n := d.Behind.Events; {
	case n >= dls.BehindCap:
		line("behind it", fmt.Sprintf("%d+ events wait, the first is %s", dls.BehindCap-1, d.Behind.First))
	case n == 1:
		line("behind it", "1 event waits: "+d.Behind.First)
	case n > 0:
		line("behind it", fmt.Sprintf("%d events wait, the first is %s", n, d.Behind.First))
	}
	line("consumer", fmt.Sprintf("%s, partition %d", d.Consumer, d.Partition))
	line("resource", d.Resource)
	line("source", fmt.Sprintf("%s/%d@%d", d.Topic, d.Partition, d.Offset))
	line("type", d.Type)
	line("policy", d.Policy)
	line("failed at", moment(d.Failed))
	line("first failed", moment(d.FirstFailed))
	line("settled at", moment(d.Settled))
	line("imported at", moment(d.Imported))
	line("attempt", strconv.Itoa(d.Attempt))
	line("deaths", strconv.Itoa(d.Deaths))
	line("class", d.Class)
	line("error", d.Text)
	line("details", d.Details)
	line("fingerprint", d.Fingerprint)
	line("instance", d.Instance)
	line("version", strconv.Itoa(d.Version))
	if d.HasBytes {
		line("timestamp", moment(d.Event.Timestamp))
		line("key", shown(d.Event.Key))
		for _, h := range d.Event.Headers {
			line("header", h.Key+": "+shown(h.Value))
		}
		writeValue(&b, line, d.Event.Value, as)
	} else {
		line("bytes", noBytes(d))
	}
	if len(d.Attempts) > 0 {
		b.WriteString("\n")
		rows := make([][]string, len(d.Attempts))
		for i, at := range d.Attempts {
			rows[i] = []string{strconv.Itoa(at.Attempt), moment(at.Started), at.Took.String(), at.Tier, at.Class, shortened(at.Text, 80), at.Instance}
		}
		if err := writeTable(&b, []string{"attempt", "started at", "took", "tier", "class", "error", "instance"}, rows); err != nil {
			return err
		}
	}
	if d.Stack != "" {
		fmt.Fprintf(&b, "\nstack of the panic\n%s\n", indented(d.Stack))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// noBytes says why a letter has none.
func noBytes(d *dls.Detail) string {
	if d.Erased.IsZero() {
		return "could be read from nowhere"
	}
	return "erased at " + moment(d.Erased)
}

// writeValue writes a value, in lines of its own where it takes several, and its size.
func writeValue(b *strings.Builder, line func(name, value string), value []byte, as valueFormat) {
	var block bytes.Buffer
	switch {
	case value == nil || as == valueText || as == valueJSON && json.Indent(&block, value, "", "  ") != nil:
		line("value", shown(value))
	case as == valueHex:
		block.WriteString(hex.Dump(value))
	}
	line("size", fmt.Sprintf("%d bytes", len(value)))
	if block.Len() > 0 {
		fmt.Fprintf(b, "\nvalue as %s\n%s\n", as, indented(block.String()))
	}
}

// shown returns bytes for a person's eyes, telling nil from empty.
func shown(b []byte) string {
	switch {
	case b == nil:
		return "(null)"
	case len(b) == 0:
		return "(empty)"
	}
	return string(b)
}

// indented keeps a text's lines, each made harmless.
func indented(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, l := range lines {
		lines[i] = "  " + printable(strings.ReplaceAll(l, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}
