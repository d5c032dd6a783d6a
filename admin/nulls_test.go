package admin

import (
	"strings"
	"testing"
	"time"
)

func TestNullIn(t *testing.T) {
	for body, want := range map[string]string{
		`null`: "body", `{"a":null}`: "body.a", `{"a":[1,{"b":null}]}`: "body.a.b", `{"ids":[1,null]}`: "body.ids", `{"a":{"key":null}}`: "body.a.key",
		`{"a":{},"b":[],"c":{"d":[[]]},"e":null}`: "body.e", `{"filter":{"headers":[{"name":"a","value":null}]}}`: "body.filter.headers.value",
		`{"value":{"json":{"a":null}},"reason":null}`: "body.reason", `{"value":{"text":null}}`: "body.value.text", `{"value":null}`: "body.value",
		`{"x":{"value":{"json":null}}}`: "body.x.value.json", `{"a":"b","c":1e999,"d":true,"e":null}`: "body.e",
		`{"key":null,"headers":[{"key":"a","value":null}],"value":{"json":null}}`: "", `{"a":null`: "", ``: "", `{"null":"null"}`: "",
	} {
		if at, found := nullIn([]byte(body)); at != want || found != (want != "") {
			t.Errorf("%s: %q, %v, want %q", body, at, found, want)
		}
	}
	// What is long or deep takes no longer than it takes to read it.
	begin := time.Now()
	long := `{"` + strings.Repeat("n", 4<<20) + `":{` + strings.Repeat(`"a":1,`, 1<<20) + `"b":null}}`
	if at, found := nullIn([]byte(long)); !found || len(at) > nullShown {
		t.Errorf("%v, %d bytes", found, len(at))
	}
	deep := strings.Repeat(`{"a":`, 9000) + `{` + strings.Repeat(`"a":1,`, 1<<20) + `"b":1}` + strings.Repeat("}", 9000)
	if _, found := nullIn([]byte(deep)); found {
		t.Error("a null is found where none is")
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it takes %v", took)
	}
}

func TestAProblemDoesNotNameMillionsOfPlaces(t *testing.T) {
	w := newWorld(t)
	a := w.post("/dead-letters/replay", `{"ids":["x"`+strings.Repeat(`,"x"`, 100_000)+`],"reason":"r"}`).is(422, "body.ids")
	if len(a.text) > 20_000 {
		t.Errorf("%d bytes", len(a.text))
	}
}
