package dls

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

const plain = `{"layby_letter":1,"id":7,"consumer":"orders","partition":3,"seq":9,"resource":"a","topic":"t","topic_id":"05050000-0000-0000-0000-000000000001",` +
	`"offset":4,"leader_epoch":0,"type":"","state":"dead","policy":"hold","attempt":1,"deaths":2,"version":1,"error_class":"E","error":"e","error_chain":[],` +
	`"error_details":null,"stack":null,"fingerprint":"","instance":null,"first_failed_at":"2026-01-02T03:04:05Z","failed_at":"2026-01-02T03:04:05Z",` +
	`"settled_at":null,"erased_at":null,"has_bytes":true,"key":null,"value":{"base64":"AP8="},"headers":[{"key":"h","value":null}],"timestamp_ms":1,` +
	`"attempts":[],"versions":[],"earlier_deaths":[]}`

func TestAPlainLineIsRead(t *testing.T) {
	l, err := parseLine([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	r := l.row()
	if string(l.Value) != "\x00\xff" || l.Key != nil || r.Seq != importedSeq+9 || r.Policy != "advance" || r.Fingerprint != Fingerprint("E", "e") {
		t.Errorf("%+v", r)
	}
}

func TestHostileLines(t *testing.T) {
	with := func(old, other string) string {
		if !strings.Contains(plain, old) {
			t.Fatalf("%s is not in the line", old)
		}
		return strings.Replace(plain, old, other, 1)
	}
	for text, want := range map[string]string{
		"":                             "cut off",
		plain[:len(plain)-1]:           "cut off",
		plain[:200]:                    "cut off",
		plain + "}":                    "something behind",
		plain + plain:                  "something behind",
		plain + " 1":                   "something behind",
		"[]":                           "cannot unmarshal array",
		"17":                           "cannot unmarshal number",
		"null":                         "layby_letter is 0",
		"{}":                           "layby_letter is 0",
		strings.Repeat("[", 1<<20):     "20th level",
		strings.Repeat(`{"a":`, 1<<20): "20th level",
		"\xff":                         "not UTF-8",
		with(`"error":"e"`, "\"error\":\"\xff\""):                                                            "not UTF-8",
		with(`"layby_letter":1`, `"layby_letter":2`):                                                         "reads lines of format 1",
		with(`"consumer":"orders"`, `"consumer":"orders","consumer":"bills"`):                                `the field "consumer" comes twice`,
		with(`{"key":"h","value":null}`, `{"key":"h","value":null,"key":"x"}`):                               `the field "key" comes twice`,
		with(`"consumer"`, `"Consumer"`):                                                                     `unknown field "Consumer"`,
		with(`"consumer"`, `"conſumer"`):                                                                     `unknown field`,
		with(`"consumer":`, `"shoe_size":9,"consumer":`):                                                     `unknown field "shoe_size"`,
		with(`"consumer":"orders"`, `"consumer":""`):                                                         "is none",
		with(`"consumer":"orders"`, `"consumer":"a\u0000"`):                                                  "is none",
		with(`"consumer":"orders",`, ``):                                                                     "is none",
		with(`"partition":3`, `"partition":-1`):                                                              "partition -1",
		with(`"partition":3`, `"partition":99999999999`):                                                     "cannot unmarshal",
		with(`"resource":"a"`, `"resource":null`):                                                            "resource is missing",
		with(`"topic":"t"`, `"topic":""`):                                                                    "topic is missing",
		with(`05050000-0000-0000-0000-000000000001`, `x`):                                                    "no UUID",
		with(`05050000-0000-0000-0000-000000000001`, `{05050000-0000-0000-0000-000000000001}`):               "no UUID",
		with(`"state":"dead"`, `"state":"undead"`):                                                           `state "undead"`,
		with(`"state":"dead"`, `"state":"healed"`):                                                           "settled_at does not fit",
		with(`"settled_at":null`, `"settled_at":"2026-01-02T03:04:05Z"`):                                     "settled_at does not fit",
		with(`"policy":"hold"`, `"policy":"maybe"`):                                                          "neither hold nor advance",
		with(`"deaths":2`, `"deaths":0`):                                                                     "died once or more",
		with(`"version":1`, `"version":-1`):                                                                  "died once or more",
		with(`"failed_at":"2026-01-02T03:04:05Z"`, `"failed_at":"yesterday"`):                                "parsing time",
		with(`"failed_at":"2026-01-02T03:04:05Z"`, `"failed_at":"0000-01-02T03:04:05Z"`):                     "out of range",
		with(`"first_failed_at":"2026-01-02T03:04:05Z",`, ``):                                                "out of range",
		with(`{"base64":"AP8="}`, `{"base64":"!"}`):                                                          "bytes are written as",
		with(`{"base64":"AP8="}`, `{"hex":"00"}`):                                                            "bytes are written as",
		with(`{"base64":"AP8="}`, `{}`):                                                                      "bytes are written as",
		with(`{"base64":"AP8="}`, `17`):                                                                      "bytes are written as",
		with(`"has_bytes":true`, `"has_bytes":false`):                                                        "has_bytes is false",
		with(`"attempts":[]`, `"attempts":[{"attempt":-1,"started_at":"2026-01-02T03:04:05Z","took_us":0}]`): "attempt -1",
		with(`"attempts":[]`, `"attempts":[{"attempt":1,"took_us":0,"started_at":"0000-12-31T00:00:00Z"}]`):  "out of range",
		with(`"versions":[]`, `"versions":[{"version":2,"made_at":"2026-01-02T03:04:05Z"}]`):                 "version 2",
		with(`"versions":[]`, `"versions":[{"version":0,"made_at":"2026-01-02T03:04:05Z"},{"version":0,"made_at":"2026-01-02T03:04:05Z"}]`): "comes twice",
		with(`"earlier_deaths":[]`, `"earlier_deaths":[{"death":2,"died_at":"2026-01-02T03:04:05Z"}]`):                                      "death 2 of 2",
	} {
		if _, err := parseLine([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 500 {
			t.Errorf("%.300s\n%v, want %q", text, err, want)
		}
	}
}

// What text columns can't hold, and texts without end, come in cleaned and cut, as they do when an event dies.
func TestHostileTextsComeIn(t *testing.T) {
	s := newStore(t)
	lane(t, s, "{}")
	bad := `a\u0000\u202e<script>` + strings.Repeat("é", 1<<20)
	text := plain
	for _, field := range []string{"type", "error_class", "error", "fingerprint", "topic"} {
		i := strings.Index(text, `"`+field+`":"`) + len(field) + 4
		text = text[:i] + bad + text[i+strings.Index(text[i:], `"`):]
	}
	for _, field := range []string{"error_details", "stack", "instance"} {
		text = strings.Replace(text, `"`+field+`":null`, `"`+field+`":"`+bad+`"`, 1)
	}
	text = strings.Replace(text, `"error_chain":[]`, `"error_chain":["`+bad+`"]`, 1)
	text = strings.Replace(text, `"attempts":[]`, `"attempts":[{"attempt":1,"started_at":"2026-01-02T03:04:05Z","took_us":9007199254740992,"tier":"\u0000","error_class":"`+bad+`","error_text":"`+bad+`","stack":"`+bad+`"}]`, 1)
	text = strings.Replace(text, `"versions":[]`, `"versions":[{"version":1,"key":{"base64":"/w=="},"value":"\u0000","who":"\u0000","actor":"\u0000","reason":"\u0000","made_at":"2026-01-02T03:04:05Z"}]`, 1)
	text = strings.Replace(text, `"earlier_deaths":[]`, `"earlier_deaths":[{"death":1,"died_at":"2026-01-02T03:04:05Z","error_class":"`+bad+`","error_text":"`+bad+`","instance":"\u0000"}]`, 1)
	text = strings.Replace(text, `"topic":"`+bad, `"topic":"t`, 1)
	if got, err := imported(t, s, text, Import{}); err != nil || got.Letters != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	lines := exported(t, s, Filter{})
	if got, err := imported(t, s, lines[0], Import{}); err != nil || got.Present != 1 || len(lines[0]) > 4<<20 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLinesOfAnyLength(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for text, want := range map[string]string{
		"":                      "",
		"a":                     "a",
		"a\n":                   "a",
		"a\n\nb":                "a||b",
		"a\r\nb":                "a\r|b",
		long + "\n" + long:      long + "|" + long,
		strings.Repeat("\n", 3): "||",
	} {
		in := &lineReader{r: bufio.NewReaderSize(strings.NewReader(text), 16)}
		var got []string
		for {
			line, err := in.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(line))
		}
		if strings.Join(got, "|") != want || in.line != len(got) {
			t.Errorf("%.40q is read as %.80q, line %d", text, got, in.line)
		}
	}
	in := &lineReader{r: bufio.NewReader(io.MultiReader(strings.NewReader("a\n"), endless{}))}
	_, _ = in.next()
	if _, err := in.next(); err == nil || !strings.Contains(err.Error(), "line 2: it is longer than 256 MiB") {
		t.Errorf("a line without an end: %v", err)
	}
}

// endless has no end and no line.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("x"), len(p))), nil }

// Whatever is read as a letter is written as the same one, and can be handed to Postgres.
func FuzzImportLine(f *testing.F) {
	f.Add([]byte(plain))
	f.Add([]byte(strings.Replace(plain, `"versions":[]`, `"versions":[{"version":0,"made_at":"2026-01-02T03:04:05Z","headers":[{"key":{"base64":"/w=="}}]}]`, 1)))
	f.Add([]byte(`{"layby_letter":1,"layby_letter":1}`))
	f.Add([]byte(`{"a":{"b":[{}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parseLine(text)
		if err != nil {
			return
		}
		row, err := json.Marshal(l.row())
		if err != nil || bytes.Contains(row, []byte(`\u0000`)) {
			t.Errorf("%s becomes %s, %v", text, row, err)
		}
		written, err := marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseLine(written)
		if err != nil || fmt.Sprintf("%+v", again) == "" || !sameLine(l, again) {
			t.Errorf("%s is written as %s, %v", text, written, err)
		}
	})
}

// sameLine compares two letters, whose times may be written in another zone.
func sameLine(a, b *line) bool {
	x, err1 := marshal(a)
	y, err2 := marshal(b)
	return err1 == nil && err2 == nil && reflect.DeepEqual(x, y)
}
