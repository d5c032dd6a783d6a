package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestForeignRecordsInARetryTopic has other programs write into both retry topics while an order waits there: each record is
// passed over, with a reason, and none changes what runs, how often, or with which bytes.
func TestForeignRecordsInARetryTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `
routes: [{type: "*", handler: relay}]
retry: {immediate: {max: 0}, tiers: [1s, 2s]}
handler_timeout: 10m
`})
	there := make(chan struct{})
	w.service.on(func(c *call) *answer {
		if c.resource != "waits" || c.n != 1 || c.run > 2 {
			return nil
		}
		if c.run == 2 {
			return &answer{status: http.StatusConflict, until: there}
		}
		return retriable
	})
	w.rounds(3, "waits", "fine")
	m := w.start()
	eventually(t, 20*time.Second, "the order's head runs for the second time", func() (bool, string) {
		return len(w.service.of("waits", 1)) == 2, w.progress().String()
	})
	w.copies(10*time.Second, "pointer", "waits#1", "waits#2")
	ours := w.tierRecord(w.tier("1s"), 1) // of the follower
	h := ours.Headers[len(ours.Headers)-1].Value
	lane, seq, attempt := h[1:17], varint(h[17:]), varint(h[17+len(varint(h[17:])):])
	rest := h[17+len(seq)+len(attempt):]
	with := func(lane, seq, attempt, rest []byte) []byte {
		return bytes.Join([][]byte{{1}, lane, seq, attempt, rest}, nil)
	}
	number := func(n int64) []byte { return binary.AppendVarint(nil, n) }
	const (
		none    = "it has no header of Layby's"
		cut     = "the header is cut"
		invalid = "the header has a number that no version of Layby writes"
	)
	told := 0
	for _, f := range []struct {
		name, reason string
		headers      [][]byte // of the key layby
	}{
		{"no header", none, nil},
		{"an empty header", cut, [][]byte{{}}},
		{"a nil header", cut, [][]byte{nil}},
		{"text", "it has format 123, this program reads 1", [][]byte{[]byte(`{"seq":1,"attempt":-1}`)}},
		{"a newer format", "it has format 2, this program reads 1: a newer version of Layby wrote it", [][]byte{append([]byte{2}, h[1:]...)}},
		{"a cut header", cut, [][]byte{h[:len(h)-1]}},
		{"a header that goes on", cut, [][]byte{append(bytes.Clone(h), 0)}},
		{"a length beyond the end", cut, [][]byte{append(bytes.Clone(h[:len(h)-len("waits")-1]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)}},
		{"a negative attempt", invalid, [][]byte{with(lane, seq, number(-1), rest)}},
		{"an attempt beyond 32 bits", invalid, [][]byte{with(lane, seq, number(math.MaxInt32+1), rest)}},
		{"the largest attempt", invalid, [][]byte{with(lane, seq, number(math.MaxInt64), rest)}},
		{"an attempt beyond 64 bits", cut, [][]byte{with(lane, seq, bytes.Repeat([]byte{0xff}, 11), rest)}},
		{"a negative seq", invalid, [][]byte{with(lane, number(-1), attempt, rest)}},
		{"the largest seq", invalid, [][]byte{with(lane, number(math.MaxInt64), attempt, rest)}},
		{"another partition's", "its header names another partition's row in Postgres", [][]byte{with(make([]byte, 16), seq, attempt, rest)}},
		{"one of ours that is not the last", cut, [][]byte{h, h[:5]}},
	} {
		for _, tier := range []string{"1s", "2s"} {
			before := strings.Count(m.text(), f.reason)
			w.intrude(tier, 1, f.headers...)
			told++
			eventually(t, 10*time.Second, "the member passes over "+f.name, func() (bool, string) {
				n, _ := m.metric("layby_foreign_records_total")
				return n >= float64(told), fmt.Sprint(n)
			})
			if strings.Count(m.text(), f.reason) == before {
				t.Errorf("%s in the tier %s: the log does not say %q: %s", f.name, tier, f.reason, m.tail())
			}
		}
	}
	// What is ours, but not the copy that the row names.
	w.intrude("1s", 1, h)
	w.intrude("2s", 1, h)
	w.intrude("1s", 1, with(lane, seq, number(40), rest))
	w.intrude("2s", 1, with(lane, number(1<<40), attempt, rest))
	// Many of them fill no log.
	lines := strings.Count(m.text(), "foreign record")
	const many = 3000
	w.intrude("1s", many)
	told += many
	eventually(t, 20*time.Second, "the member passes over all", func() (bool, string) {
		n, _ := m.metric("layby_foreign_records_total")
		return n == float64(told), fmt.Sprint(n)
	})
	if n := strings.Count(m.text(), "foreign record") - lines; n == 0 || n > many/10 {
		t.Errorf("%d lines tell of %d foreign records", n, many)
	}
	close(there)
	w.rest(30 * time.Second)
	w.expectRuns("waits", "0:204", "1:409", "1:409", "1:204", "2:204")
	w.expectRuns("fine", "0:204", "1:204", "2:204")
	w.check(except{})
	w.bytesAreKept()
	w.logIsReadable(m)
}

// tierRecord is a record of a retry topic's only partition.
func (w *world) tierRecord(topic string, offset int64) *kgo.Record {
	w.t.Helper()
	cl := w.kafka.Client(w.t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(offset)}}))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	fetched := cl.PollRecords(ctx, 1)
	if err := fetched.Err(); err != nil {
		w.t.Fatalf("read %s: %v", topic, err)
	}
	return fetched.Records()[0]
}

// varint is the number at the beginning of the bytes.
func varint(b []byte) []byte {
	_, n := binary.Varint(b)
	return b[:n]
}

// intrude writes n records into a retry topic, as another program would, with these values of the header layby.
func (w *world) intrude(tier string, n int, headers ...[]byte) {
	w.t.Helper()
	list := make([]*kgo.Record, n)
	for i := range list {
		list[i] = &kgo.Record{Topic: w.tier(tier), Key: []byte("waits"), Value: []byte("foreign"), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("b")}}}
		for _, h := range headers {
			list[i].Headers = append(list[i].Headers, kgo.RecordHeader{Key: "layby", Value: h})
		}
	}
	if err := w.client.ProduceSync(context.Background(), list...).FirstErr(); err != nil {
		w.t.Fatalf("produce to %s: %v", w.tier(tier), err)
	}
}

// TestG8ForgedHeadersAreData has source records carry headers that are called like Layby's own, and like what it tells services:
// they are handed to handlers in Go as they are, and nothing believes them.
func TestG8ForgedHeadersAreData(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: strangeConsumer})
	position := fmt.Sprintf("%s/0@0", w.topic())
	header := bytes.Join([][]byte{{1}, make([]byte, 16), {2, 80}, make([]byte, 16), {0, 4, 0, 0, 1, 'x', 5, 'o', 't', 'h', 'e', 'r'}}, nil)
	var heal, die []*event
	for i, attempt := range []string{"77", "-1", "0", "99999999999999999999999", "\xff\x00"} {
		forge := func(r *kgo.Record) {
			for key, value := range map[string]string{
				"layby-attempt": attempt, "Layby-Attempt": attempt, "ce_laybyattempt": attempt, "layby-position": position, "Layby-Position": position,
				"layby-fencing-token": attempt, "Layby-Fencing-Token": attempt, "layby-resource": "other", "layby-seq": attempt,
				"layby-null-value": "true", "ce_subject": "other", "layby-lane": attempt,
			} {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
			}
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "layby", Value: header}, kgo.RecordHeader{Key: "layby", Value: nil})
		}
		heal = append(heal, w.hooked(fmt.Sprint("heals-", i), forge)...)
		die = append(die, w.hooked(fmt.Sprint("dies-", i), forge)...)
	}
	w.strange(heal, die, plainly) // the checker compares attempts, tokens and positions with what was produced
	for _, e := range append(heal, die...) {
		want := []string{"0:409", "0:409", "0:204"}
		if strings.HasPrefix(e.resource, "dies") {
			want = []string{"0:422"}
		}
		w.expectRuns(e.resource, want...)
	}
}
