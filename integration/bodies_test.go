package integration

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestR6WhatATierRefusesGetsABody has a tier refuse large records: their bytes go into their rows and come back unchanged
// at each retry. The small ones of the same batches are not concerned.
func TestR6WhatATierRefusesGetsABody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{partitions: 1, consumer: `
routes: [{type: "*", handler: relay}]
retry: {immediate: {max: 0}, tiers: [5s, 6s]}
`})
	w.rounds(1, "first")
	w.start()
	w.rest(20 * time.Second)
	w.alter(w.tier("5s"), "max.message.bytes", "5000")
	w.refuses(w.tier("5s"), kerr.MessageTooLarge)

	orders := names("order", 4)
	var list []*event
	for i := range 40 {
		list = append(list, w.event(orders[i%4], func(r *kgo.Record) {
			r.Headers = []kgo.RecordHeader{{Key: "a", Value: []byte{0, 255}}, {Key: "a", Value: nil}}
			if i%3 == 0 { // heads and followers
				r.Value = fmt.Appendf(nil, `{"resource":%q,"n":%d,"more":%q}`, orders[i%4], i/4, noise(10_000))
			}
		}))
	}
	for _, order := range orders {
		w.service.fails(order, 0, 2, retriable)
	}
	w.produce(list...)
	eventually(t, 20*time.Second, "all wait, each with the copy that is due to it", func() (bool, string) {
		s := w.mustStored()
		wrong := map[string]int{}
		for _, e := range list {
			want := "pointer"
			if len(e.record.Value) > 5000 {
				want = "body"
			}
			if p, ok := s.parked[e.position()]; !ok || copyOf(p) != want {
				wrong[fmt.Sprintf("copy %s for %s, waits: %v", copyOf(p), want, ok)]++
			}
		}
		return len(wrong) == 0, fmt.Sprint(wrong)
	})
	w.rest(40 * time.Second)
	w.check(except{})
	w.sameBytes()
	for _, e := range list {
		want := 1
		if e.n == 0 {
			want = 3
		}
		if runs := w.service.of(e.resource, e.n); len(runs) != want {
			t.Errorf("%v ran %d times, expected %d", e, len(runs), want)
		}
	}
}

// noise is text that no compression makes smaller than so many bytes.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}

// sameBytes checks that each run of a Go handler saw the bytes that were produced.
func (w *world) sameBytes() {
	w.t.Helper()
	at := map[string]*event{}
	for _, e := range w.produced() {
		at[e.position()] = e
	}
	for _, c := range w.service.snapshot() {
		if e := at[c.position]; e == nil {
			w.t.Errorf("nothing was produced to %s", c.position)
		} else if diff := different(e.record, c.whole); diff != "" {
			w.t.Errorf("%v: %s", &c, diff)
		}
	}
}

// refuses waits until a topic refuses a large record. What it takes until then lies there as a foreign record.
func (w *world) refuses(topic string, with error) {
	w.t.Helper()
	cl := w.kafka.Client(w.t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	eventually(w.t, 20*time.Second, topic+" refuses", func() (bool, string) {
		err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: make([]byte, 100_000)}).FirstErr()
		return errors.Is(err, with), fmt.Sprint(err)
	})
}
