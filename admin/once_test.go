package admin

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/layby-go/layby/dls"
)

func TestWhatMayHaveBeenDoneIsSaid(t *testing.T) {
	a := &API{log: slog.New(slog.DiscardHandler)}
	if err := a.failed(t.Context(), fmt.Errorf("replay: %w: %w", io.ErrUnexpectedEOF, dls.ErrUnknown)); !strings.Contains(err.Error(), "whether it was done is not known") {
		t.Error(err)
	}
	if err := a.failed(t.Context(), io.ErrUnexpectedEOF); !strings.Contains(err.Error(), "Postgres is away") {
		t.Error(err)
	}
}

func TestAnAmendmentSentAgainIsAnsweredAfterTheEventHasGone(t *testing.T) {
	w := newWorld(t)
	id := w.put("o-1")
	w.exec(`insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due)
		values ('orders', 3, 200, 'o-1', 't', gen_random_uuid(), 200, 0, '', 0, 0, '', now())`)
	const waiting = `{"consumer":"orders","partition":3,"seq":200,"value":{"text":"x"},"reason":"r"}`
	first := w.post("/parked-events/amend", waiting, `If-Match: "0"`, "Idempotency-Key: k").is(202)
	w.exec("delete from {{schema}}.parked_events")
	if again := w.post("/parked-events/amend", waiting, `If-Match: "0"`, "Idempotency-Key: k").is(202); again.text != first.text {
		t.Errorf("%s, then %s", first.text, again.text)
	}
	w.post("/parked-events/amend", waiting, `If-Match: "0"`, "Idempotency-Key: other").is(404)

	path := fmt.Sprintf("/dead-letters/%d/amend", id)
	first = w.post(path, `{"value":{"json":1},"reason":"r"}`, `If-Match: "0"`, "Idempotency-Key: l").is(200)
	w.exec("delete from {{schema}}.parked_resources; delete from {{schema}}.dead_letters")
	if again := w.post(path, `{"value":{"json":1},"reason":"r"}`, `If-Match: "0"`, "Idempotency-Key: l").is(200); again.text != first.text || again.header.Get("ETag") != `"1"` {
		t.Errorf("%s, then %s", first.text, again.text)
	}
	w.post(path, `{"value":{"json":2},"reason":"r"}`, `If-Match: "0"`, "Idempotency-Key: l").is(422, "another request")
}
