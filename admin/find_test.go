package admin

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby/integration/stack"
)

func TestLettersAreFoundPageByPage(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 5 {
		names = append(names, fmt.Sprintf("o-%d", i))
	}
	w.put(names...)
	seen := ""
	for cursor := ""; ; {
		page := into[LetterPage](w.get("/dead-letters?limit=2&class=UnknownProduct&cursor=" + cursor).is(200))
		for _, l := range page.Letters {
			seen += string(l.Resource) + " "
		}
		if cursor = page.Next; cursor == "" {
			break
		}
		w.get("/dead-letters?limit=2&class=Other&cursor="+cursor).is(400, "belongs to a list with another filter")
	}
	if len(strings.Fields(seen)) != 5 {
		t.Errorf("found %s", seen)
	}
	for query, n := range map[string]int{
		"consumer=orders": 5, "consumer=none": 0, "resource=o-1": 1, "resource=": 0, "resource_base64=" + url.QueryEscape("by0x"): 1, "type=order.paid": 5,
		"class=UnknownProduct&state=dead&state=healed": 5, "state=healed": 0, "text=PRODUCT+3": 1, "header=tenant%3Dacme": 5, "header=tenant%3Dother": 0,
		"json=" + url.QueryEscape("/n=2"): 1, "json=" + url.QueryEscape("$.n > 3"): 2, "since=2020-01-01T00:00:00Z": 5, "until=2020-01-01T00:00:00Z": 0,
		"amended=true": 0, "amended=false": 5, "correlation=x": 0, "fingerprint=x": 0,
	} {
		if page := into[LetterPage](w.get("/dead-letters?" + query).is(200)); len(page.Letters) != n {
			t.Errorf("%s: %d, want %d", query, len(page.Letters), n)
		}
		w.get("/dead-letters/count?"+query).is(200, fmt.Sprintf(`"count":%d`, n))
	}
	w.get("/dead-letters?state=sleepy").is(422)
	w.get("/dead-letters?header=x").is(400, "no header with its value")
	w.get("/dead-letters?json="+url.QueryEscape("$.[[")).is(400, "SQL/JSON path")
	w.get("/dead-letters?resource=a&resource_base64=YQ==").is(422, "once")
	w.get("/dead-letters/groups").is(200, `"open":5`, `"resources":5`)
}

func TestParkedResourcesAreFoundHeldAndReleased(t *testing.T) {
	w := newWorld(t)
	id := w.put("o-1", "o-2")
	w.exec(`insert into {{schema}}.parked_events (consumer, partition, seq, resource, resource_text, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier,
			due, copy, key, value, headers)
		select consumer, partition, 100, resource, resource_text, topic, topic_id, 100, 0, 'order.paid', 0, 0, '', now(), 'body', key, 'later', headers_raw
		from {{schema}}.dead_letters where id = $1`, id)
	page := w.get("/parked-resources?limit=1").is(200, `"state":"held"`)
	next := into[struct{ Next string }](page).Next
	w.get("/parked-resources?limit=1&cursor="+next).is(200, `"resources":[{`)
	w.get("/parked-resources?consumer=orders&cursor="+next).is(400, "another filter")
	w.get("/parked-resources?state=held&resource=o-1").is(200, `"waiting":1`, fmt.Sprintf(`"letter_id":%d`, id))
	w.get("/parked-resources/queue?consumer=orders&resource=o-1").is(200, `"at_head":{`, `"seq":100`)
	if tag := w.get("/parked-events?consumer=orders&partition=3&seq=100&as=hex").is(200, `"hex":"6c61746572"`).header.Get("ETag"); tag != `"0"` {
		t.Errorf("ETag %s", tag)
	}
	w.post("/parked-events/amend", `{"consumer":"orders","partition":3,"seq":100,"value":{"text":"x"},"reason":"r"}`, `If-Match: "0"`).is(202, "command_id")
	w.post("/parked-events/amend", `{"consumer":"orders","partition":3,"seq":100,"value":{"text":"x"},"reason":"r"}`, `If-Match: "7"`).is(412)
	w.post("/parked-events/amend", `{"consumer":"orders","partition":3,"seq":101,"value":{"text":"x"},"reason":"r"}`, `If-Match: "0"`).is(404)
	for _, act := range []string{"hold", "release", "retry"} {
		w.post("/parked-resources/"+act, `{"consumer":"orders","resource":"o-1","reason":"r"}`).is(202, "operation_id")
		if a := w.post("/parked-resources/"+act, `{"consumer":"none","resource":{"base64":"/w=="},"reason":"r"}`); a.status != 404 && a.status != 409 {
			t.Errorf("%s: %d %s", act, a.status, a.text)
		}
		w.post("/parked-resources/"+act, `{"consumer":"orders","reason":"r"}`).is(422)
		w.post("/parked-resources/"+act, `{"consumer":"orders","resource":null,"reason":"r"}`).is(422)
	}
	if n := w.texts("select kind from {{schema}}.commands order by id"); fmt.Sprint(n) != "[amend_parked hold release retry_now]" {
		t.Errorf("commands %q", n)
	}
}

func TestEventsAreSubmitted(t *testing.T) {
	w := newWorld(t)
	w.put("o-1")
	submit := func(body string) *answer { return w.post("/events", body) }
	submit(`{"consumer":"orders","key":"o-1","value":{"text":"a\u0000b"},"headers":[{"key":"type","value":"order.paid"}],"reason":"r"}`).is(202, "operation_id")
	submit(`{"consumer":"orders","key":{"base64":"/w=="},"value":{"base64":"/w=="},"partition":3,"reason":"r"}`).is(202)
	submit(`{"consumer":"orders","key":"o-1","value":{"json":{"a": 1}},"reason":"r"}`).is(202)
	submit(`{"consumer":"orders","copy":{"topic":"order-events","partition":3,"offset":17},"reason":"r"}`).is(202)
	if n := w.texts("select coalesce(encode(value, 'hex'), 'copy ' || source_offset) from {{schema}}.commands order by id"); fmt.Sprint(n) !=
		"[610062 ff 7b2261223a20317d copy 17]" {
		t.Errorf("commands %q", n)
	}
	submit(`{"consumer":"none","key":"o-1","value":{"text":"x"},"reason":"r"}`).is(404)
	submit(`{"consumer":"orders","key":"o-1","value":{"text":"x"},"topic":"a\u0000","reason":"r"}`).is(422, "NUL")
	submit(`{"consumer":"orders","key":"x","copy":{"topic":"order-events","partition":3,"offset":17},"reason":"r"}`).is(422, "leave out")
	submit(`{"consumer":"orders","key":"x","value":{"text":"x"}}`).is(422, "reason")
}

func TestOperationsArePausedResumedAndCancelled(t *testing.T) {
	w := newWorld(t)
	id := w.put("o-1")
	op := into[ActAnswer](w.post("/dead-letters/replay", fmt.Sprintf(`{"ids":[%d],"reason":"r"}`, id)).is(202)).Operation
	for _, act := range []string{"pause", "resume", "cancel"} {
		w.post(fmt.Sprintf("/operations/%d/%s", op, act), `{"reason":"r"}`, "Idempotency-Key: "+act).is(200, act)
		w.post(fmt.Sprintf("/operations/%d/%s", op, act), `{"reason":"r"}`, "Idempotency-Key: "+act).is(200, act)
	}
	w.get(fmt.Sprintf("/operations/%d", op)).is(200, `"state":"cancelled"`)
	w.post(fmt.Sprintf("/operations/%d/resume", op), `{"reason":"r"}`).is(409)
	w.get("/audit?action=cancel+operation&by=the-operator&limit=1").is(200, `"operation":`)
	w.get("/operations?limit=1&before=1").is(200, `"operations":[]`)
}

func TestErasingIsForAdmins(t *testing.T) {
	w := newWorld(t)
	w.put("o-1")
	w.token = w.tokens[Admin]
	w.post("/resources/erase", `{"resource":"o-1","reason":"r"}`).is(409)
	w.exec("delete from {{schema}}.parked_resources; update {{schema}}.dead_letters set state = 'discarded', settled_at = now()")
	w.post("/resources/erase", `{"resource":"o-1","reason":"r","dry_run":true}`, "Idempotency-Key: k").is(200, `"letters":1`)
	w.post("/resources/erase", `{"resource":"o-1","reason":"r"}`, "Idempotency-Key: k").is(200, `"letters":1`)
	w.post("/resources/erase", `{"resource":"o-1","reason":"r"}`, "Idempotency-Key: k").is(200, `"letters":1`)
	if n := w.texts("select actor from {{schema}}.audit_log where action like 'erase%'"); fmt.Sprint(n) != "[the-admin]" {
		t.Errorf("audit %q", n)
	}
}

func TestItAnswersWhileAllElseIsBusy(t *testing.T) {
	w := newWorld(t)
	w.put("o-1")
	// All connections of the others hold locks for as long as they like.
	for range w.pool.Config().MaxConns {
		tx, err := w.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
		if _, err := tx.Exec(t.Context(), "select from "+w.schema+".dead_letters for share"); err != nil {
			t.Fatal(err)
		}
	}
	w.get("/dead-letters").is(200, `"resource":"o-1"`)
	w.get("/dead-letters/groups").is(200)
	begin := time.Now()
	a := w.post("/dead-letters/1/amend", `{"value":{"text":"{}"},"reason":"r"}`, "If-Match: *").is(503, "could not do it now")
	if a.header.Get("Retry-After") == "" || time.Since(begin) > 20*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), a.header)
	}
}

func TestPostgresIsAway(t *testing.T) {
	w := newWorld(t)
	w.get("/dead-letters").is(200)
	name := w.texts("select current_database()::text")[0]
	server := stack.SharedPostgres(t)
	server.Exec(t, "alter database "+name+" allow_connections false")
	server.Exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
	for range 3 { // connections that are broken, then none
		if a := w.get("/dead-letters").is(503, "Postgres"); a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	w.post("/dead-letters/replay", `{"ids":[1],"reason":"r"}`, "Idempotency-Key: k").is(503)
	server.Exec(t, "alter database "+name+" allow_connections true")
	w.pool.Reset() // its connections are gone too
	w.get("/dead-letters").is(200)
}

func TestAnOldSchemaIsNamed(t *testing.T) {
	w := newWorld(t)
	w.exec("alter table {{schema}}.dead_letters rename to gone")
	w.get("/dead-letters").is(503, "layby migrate up")
	w.exec("alter table {{schema}}.gone rename to dead_letters")
}
