package admin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOfTwoWhoAmendTheSameVersionOneIsTold(t *testing.T) {
	w := newWorld(t)
	id := w.put("o-1")
	path := fmt.Sprintf("/dead-letters/%d", id)
	tag := w.get(path).is(200).header.Get("ETag")
	if tag != `"0"` {
		t.Fatalf("ETag %s", tag)
	}
	answers := make(chan *answer)
	for i := range 2 {
		go func() {
			answers <- w.post(path+"/amend", fmt.Sprintf(`{"value":{"json":{"by": %d}},"reason":"r"}`, i), "If-Match: "+tag)
		}()
	}
	one, two := <-answers, <-answers
	if one.status+two.status != 200+412 {
		t.Errorf("%d %s, %d %s", one.status, one.text, two.status, two.text)
	}
	for _, a := range []*answer{one, two} {
		if a.status == 200 && a.header.Get("ETag") != `"1"` {
			t.Errorf("ETag %s", a.header.Get("ETag"))
		}
	}
	if n := w.texts("select count(*)::text from {{schema}}.audit_log where action = 'amend' and actor = 'the-operator'"); n[0] != "1" {
		t.Errorf("%s amendments in the audit log", n[0])
	}
	w.post(path+"/amend", `{"value":{"text":"{}"},"reason":"r"}`).is(428, "If-Match")
	for _, stale := range []string{`"0"`, `W/"1"`, `"99999999999"`, "1", `"x"`} {
		w.post(path+"/amend", `{"value":{"text":"{}"},"reason":"r"}`, "If-Match: "+stale).is(412)
	}
	w.post(path+"/amend", `{"value":{"text":"{}"},"reason":"r","replay":true}`, "If-Match: *").is(200, `"version":2`, `"operation_id":`)
	w.exec("update {{schema}}.dead_letters set state = 'replaying'")
	w.post(path+"/amend", `{"value":{"text":"{}"},"reason":"r"}`, `If-Match: "2"`).is(409, "is replaying")
	w.post("/dead-letters/999/amend", `{"value":{"text":"{}"},"reason":"r"}`, `If-Match: "2"`).is(404)
}

func TestAnAmendmentIsShownInEveryForm(t *testing.T) {
	w := newWorld(t)
	id := w.put("o-1")
	path := fmt.Sprintf("/dead-letters/%d", id)
	w.post(path+"/amend", `{"value":{"base64":"/wD+"},"headers":[{"key":"a","value":null},{"key":"a","value":""},{"key":"b","value":{"base64":"/w=="}}],"reason":"r","force":true}`,
		`If-Match: "0"`, "Idempotency-Key: k").is(200, `"forced":true`)
	w.post(path+"/amend", `{"value":{"base64":"/wD+"},"headers":[{"key":"a","value":null},{"key":"a","value":""},{"key":"b","value":{"base64":"/w=="}}],"reason":"r","force":true}`,
		`If-Match: "0"`, "Idempotency-Key: k").is(200, `"version":1`)
	w.get(path+"?as=hex").is(200, `"value":{"bytes":3,"hex":"ff00fe"}`, `"headers":[{"key":"a","value":null},{"key":"a","value":""},{"key":"b","value":{"base64":"/w=="}}]`)
	w.get(path+"?as=text").is(200, `"base64":"/wD+"`)
	w.get(path+"/versions?as=json").is(200, `"json":{"n":1}`, `"actor":"the-operator"`)
	w.post(path+"/amend", `{"value":{"json":{"total":  1.50, "b":null}},"reason":"r"}`, `If-Match: "1"`).is(200)
	w.get(path).is(200, `{\"total\":  1.50, \"b\":null}`) // as it was written
	w.get(path + "?as=xml").is(422)
	if a := w.get(path); strings.Contains(a.text, "<script>") || strings.Contains(a.text, "\u202e") {
		t.Errorf("harmful: %s", a.text)
	}
	for _, body := range []string{
		`{"value":{"text":"a","json":1},"reason":"r"}`, `{"value":{},"reason":"r"}`, `{"value":"x","reason":"r"}`, `{"value":{"base64":"%"},"reason":"r"}`,
		`{"value":{"text":null},"reason":"r"}`, `{"reason":"r"}`, `{"value":{"text":"x"}}`, `{"value":null,"reason":"r"}`,
	} {
		w.post(path+"/amend", body, `If-Match: "2"`).is(422)
	}
}

func TestAnAmendedValueIsCheckedAgainstTheSchemaOfItsType(t *testing.T) {
	file := filepath.Join(t.TempDir(), "paid.json")
	if err := os.WriteFile(file, []byte(`{"required":["card"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(o *Options) {
		o.Schemas = func(consumer, eventType string) string {
			if consumer == "orders" && eventType == "order.paid" {
				return file
			}
			return ""
		}
	})
	path := fmt.Sprintf("/dead-letters/%d/amend", w.put("o-1"))
	w.post(path, `{"value":{"json":{}},"reason":"r"}`, `If-Match: "0"`).is(422, "card")
	w.post(path, `{"value":{"json":{"card":"x"}},"reason":"r"}`, `If-Match: "0"`).is(200)
	w.post(path, `{"value":{"json":{}},"reason":"r","force":true}`, `If-Match: "1"`).is(200, `"forced":true`)
	if n := w.texts("select details->>'forced' from {{schema}}.audit_log where action = 'amend' order by id desc limit 1"); n[0] != "true" {
		t.Errorf("forced %q", n)
	}
}
