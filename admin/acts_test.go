package admin

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestAReplayIsAskedForUnderTheTokensName(t *testing.T) {
	w := newWorld(t)
	id := w.put("o-1", "o-2", "o-3")
	body := fmt.Sprintf(`{"ids":[%d,%d,999,%[1]d],"reason":"the bank is back","rate":5}`, id, id+1)
	a := into[ActAnswer](w.post("/dead-letters/replay", body).is(202))
	if a.Operation == 0 || a.Letters != 2 || len(a.Items) != 3 || a.Items[2] != (Item{999, false, "there is no such dead letter"}) || !a.Items[0].Asked {
		t.Errorf("%+v", a)
	}
	got := w.texts("select actor || ': ' || reason || ', letter ' || letter_id from {{schema}}.audit_log where action = 'replay' order by letter_id")
	if fmt.Sprint(got) != fmt.Sprintf("[the-operator: the bank is back, letter %d the-operator: the bank is back, letter %d]", id, id+1) {
		t.Errorf("audit %q", got)
	}
	w.get(fmt.Sprintf("/operations/%d", a.Operation)).is(200, `"actor":"the-operator"`, `"rate":5`, `"waiting":2`, `"state":"running"`)
	w.get("/operations").is(200, `"kind":"replay"`)
	w.get(fmt.Sprintf("/dead-letters/%d/timeline", id)).is(200, "replay asked for", "the-operator")
	w.get(fmt.Sprintf("/audit?letter_id=%d", id)).is(200, `"reason":"the bank is back"`)
	w.post("/dead-letters/replay", `{"ids":[999],"reason":"r"}`).is(404, "there is no such dead letter")
	w.exec("update {{schema}}.dead_letters set state = 'replaying' where id = $1", id+2)
	w.post("/dead-letters/discard", fmt.Sprintf(`{"ids":[%d],"reason":"r"}`, id+2)).is(409, "it is replaying")
	w.post("/dead-letters/discard", fmt.Sprintf(`{"ids":[%d, 998],"reason":"r"}`, id+2)).is(200, `"letters":0`, "it is replaying")
}

func TestADryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.put("o-1", "o-2", "o-2")
	for _, act := range []string{"replay", "discard", "advance"} {
		a := into[ActAnswer](w.post("/dead-letters/"+act, `{"filter":{"resource":"o-2"},"dry_run":true}`).is(200))
		if a.Letters != 2 || a.Plan.Resources != 1 || string(a.Plan.First[0].Resource) != "o-2" || a.Operation != 0 || !a.DryRun {
			t.Errorf("%+v", a)
		}
	}
	if n := w.texts("select count(*)::text from {{schema}}.commands"); n[0] != "0" {
		t.Errorf("%s commands", n[0])
	}
}

func TestWhatCantBeMeantIsRefused(t *testing.T) {
	w := newWorld(t)
	w.put("o-1")
	for body, text := range map[string]string{
		`{"filter":{},"reason":"r"}`:                                          "it has no condition",
		`{"ids":[1],"filter":{"type":"x"},"reason":"r"}`:                      "not both",
		`{"reason":"r"}`:                                                      "which dead letters",
		`{"ids":[1]}`:                                                         "why?",
		`{"ids":[1],"reason":"  "}`:                                           "why?",
		`{"ids":[1],"reason":"a\u0000b"}`:                                     "NUL",
		`{"ids":[1],"reason":"` + strings.Repeat("x", 2001) + `"}`:            "reason",
		`{"ids":[1],"reason":"r","rate":-1}`:                                  "rate",
		`{"ids":[99999999999999999999],"reason":"r"}`:                         "ids",
		`{"filter":{"headers":[{"name":"a\u0000","value":""}]},"reason":"r"}`: "NUL",
		`{"filter":{"type":"x","resource":null},"reason":"r"}`:                "resource",
		`{"filter":{"text":"a\u0000"},"reason":"r"}`:                          "NUL",
		`{"filter":{"json":["nonsense"]},"dry_run":true}`:                     "no test of JSON",
		`{"filter":{"json":["$.[["]},"dry_run":true}`:                         "SQL/JSON path",
		`{"ids":[1],"reason":"r","surprise":1}`:                               "surprise",
		`{"ids":`:                                                             "",
		`[]`:                                                                  "",
	} {
		a := w.post("/dead-letters/replay", body)
		if a.status != 400 && a.status != 422 {
			t.Errorf("%s: %d", body, a.status)
		}
		a.is(a.status, text)
	}
	if n := w.texts("select count(*)::text from {{schema}}.commands"); n[0] != "0" {
		t.Errorf("%s commands", n[0])
	}
}

func TestOneKeyIsCarriedOutOnce(t *testing.T) {
	w := newWorld(t)
	id := w.put("o-1", "o-2")
	body := fmt.Sprintf(`{"ids":[%d],"reason":"r"}`, id)
	first := w.post("/dead-letters/replay", body, "Idempotency-Key: k").is(202)
	if again := w.post("/dead-letters/replay", body, "Idempotency-Key: k").is(202); again.text != first.text {
		t.Errorf("%s, then %s", first.text, again.text)
	}
	w.post("/dead-letters/replay", fmt.Sprintf(`{"ids":[%d],"reason":"r"}`, id+1), "Idempotency-Key: k").is(422, "another request")
	w.post("/dead-letters/discard", body, "Idempotency-Key: k").is(422, "another request")
	w.post("/dead-letters/replay", body, "Idempotency-Key: ").is(422, "it is empty")
	w.token = w.tokens[Admin]
	w.post("/dead-letters/replay", body, "Idempotency-Key: k").is(202) // somebody else's key is another one
	w.token = w.tokens[Operator]
	if n := w.texts("select count(*)::text from {{schema}}.commands"); n[0] != "2" {
		t.Errorf("%s commands, want 2", n[0])
	}
	w.exec("update {{schema}}.admin_answers set answered_at = now() - interval '25 hours'")
	w.post("/dead-letters/replay", fmt.Sprintf(`{"ids":[%d],"reason":"r"}`, id+1), "Idempotency-Key: l").is(202)
	if n := w.texts("select key from {{schema}}.admin_answers"); fmt.Sprint(n) != "[l]" {
		t.Errorf("answers %q: those of yesterday are kept", n)
	}
	w.post("/dead-letters/replay", body, "Idempotency-Key: k").is(202)
}

func TestWhatWasRefusedLeavesNoAnswer(t *testing.T) {
	w := newWorld(t)
	w.put("o-1")
	w.post("/operations/9/pause", `{"reason":"r"}`, "Idempotency-Key: k").is(404)
	if n := w.texts("select key from {{schema}}.admin_answers"); len(n) != 0 {
		t.Errorf("answers %q", n)
	}
}

func TestTheSameKeyAtOnceIsAConflict(t *testing.T) {
	w := newWorld(t)
	id := w.put("o-1")
	// Somebody's act with the same key waits for the letter: it holds the key until it is through.
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // after a commit
	if _, err := tx.Exec(t.Context(), "select from "+w.schema+".admin_answered('the-operator', 'k', 'x')"); err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"ids":[%d],"reason":"r"}`, id)
	w.post("/dead-letters/replay", body, "Idempotency-Key: k").is(409, "being carried out")
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	got := make([]*answer, 8)
	for i := range got {
		all.Go(func() { got[i] = w.post("/dead-letters/replay", body, "Idempotency-Key: k") })
	}
	all.Wait()
	for _, a := range got {
		if a.status != 202 && a.status != 409 {
			t.Errorf("%d: %s", a.status, a.text)
		}
	}
	if n := w.texts("select count(*)::text from {{schema}}.commands"); n[0] != "1" {
		t.Errorf("%s commands, want 1", n[0])
	}
}
