package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/layby-go/layby/migrations"
)

// store has 60 letters: of the first one, everything that a terminal could take for a command.
func store(t *testing.T) (dls func(args ...string) result, ask func(sql string)) {
	t.Helper()
	run, ask := storeOf(t)
	return func(args ...string) result { return run(append([]string{"dls"}, args...)...) }, ask
}

// storeOf is the same for all commands.
func storeOf(t *testing.T) (run func(args ...string) result, ask func(sql string)) {
	t.Helper()
	opts, ask := storeWith(t)
	return func(args ...string) result { return try(t, valid, opts, args...) }, ask
}

// storeWith is the same for a configuration of the test's own.
func storeWith(t *testing.T) (opts []Option, ask func(sql string)) {
	t.Helper()
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	if _, err := migrations.Up(t.Context(), pool, schema); err != nil {
		t.Fatal(err)
	}
	ask = func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), migrations.Render(sql, schema)); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	ask(`insert into {{schema}}.dead_letters (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, state, policy,
			attempt, error_class, error_text, fingerprint, has_bytes, value, headers, failed_at, first_failed_at, version)
		select 'orders', 0, n, case when n = 1 then convert_to(E'o\u202e\u0085-1', 'UTF8') else convert_to('o-' || n, 'UTF8') end, 't', gen_random_uuid(), n, 0, 'order.paid',
			case when n = 2 then 'healed' when n = 3 then 'awaiting correction' else 'dead' end, 'hold', 1, 'Timeout',
			case when n = 1 then E'late \x1b[31m\u202e\u2066\u009b31m\u200b\u0007' else 'late ' || n end, case when n < 10 then 'f1' else 'f2' end, true,
			convert_to('{"n":' || n || ',"a":"' || case when n = 1 then E'\u202e\u009b' else '' end || '"}', 'UTF8'),
			jsonb_build_array(jsonb_build_object('key', 'tenant', 'value', 't' || n % 2), jsonb_build_object('key', 'correlation-id', 'value', 'c-' || n)),
			timestamptz '2026-01-01' + n * interval '1 hour', timestamptz '2026-01-01' + n * interval '1 hour', (n = 4)::int
		from generate_series(1, 60) n`)
	return append(opts, editors{}), ask
}

// editors gives a program the editors of the test's environment.
type editors struct{}

func (editors) apply(a *app) {
	for _, name := range []string{"VISUAL", "EDITOR"} {
		a.environ = append(a.environ, name+"="+os.Getenv(name))
	}
}

func TestFindDeadLetters(t *testing.T) {
	dls, _ := store(t)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"3", []string{"--state", "awaiting correction"}},
		{"2 1", []string{"--state", "dead,healed", "--until", "2026-01-01T03:00:00Z"}},
		{"2 1", []string{"--state", "dead", "--state", "healed", "--until", "2026-01-01T03:00:00Z"}},
		{"5 3 1", []string{"--header", "tenant=t1", "--until", "2026-01-01T06:00:00Z"}},
		{"7", []string{"--json", "/n=7"}},
		{"8", []string{"--json", "$.n == 8"}},
		{"9 8", []string{"--json", "$.n > 7", "--fingerprint", "f1", "--limit", "1000"}},
		{"9", []string{"--correlation", "c-9"}},
		{"12", []string{"--resource", "o-12"}},
		{"13", []string{"--text", "LATE 13"}},
		{"4", []string{"--amended"}},
		{"5 3 2 1", []string{"--amended=false", "--until", "2026-01-01T06:00:00Z"}},
		{"60 59", []string{"--since", "2026-01-03T11:00:00Z"}},
		{"", []string{"--since", "1h"}},
		{"", []string{"--type", "none"}},
	} {
		args := append([]string{"list", "-o", "jsonl"}, c.args...)
		r := dls(args...)
		var seqs []string
		for line := range strings.Lines(r.stdout) {
			var l struct{ Seq int64 }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(line, err)
			}
			seqs = append(seqs, fmt.Sprint(l.Seq))
		}
		if got := strings.Join(seqs, " "); r.code != exitDone || got != c.want {
			t.Errorf("%q: %q, want %q, %+v", c.args, got, c.want, r)
		}
		count := fmt.Sprintln(len(seqs))
		if r := dls(append(args, "--count", "-o", "table")...); r.stdout != count {
			t.Errorf("%q --count: %+v, want %s", c.args, r, count)
		}
	}
	dls("list", "--amended").expect(t, exitDone, "dead, v1", "")
	dls("list", "--count", "-o", "json").expect(t, exitDone, `{"count":60,"exact":true,"looked":0}`, "")
	dls("list", "--text", "late", "--look", "20", "--limit", "30").expect(t, exitDone, "o-60", "looked at 20 letters, back to 2026-01-02T17:00:00Z; to look on: --after ")
}

func TestMistakesInAFilter(t *testing.T) {
	dls, _ := store(t)
	after := strings.TrimSpace(strings.SplitAfter(dls("list", "--limit", "1").stderr, "--after ")[1])
	dls("list", "--limit", "1", "--after", after).expect(t, exitDone, "o-59", "")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--after: \"x\" is no cursor", []string{"--after", "x"}},
		{"belongs to a list with another filter: repeat that filter, or begin without a cursor", []string{"--after", after, "--type", "x"}},
		{`--header: "tenant" is no header with its value: write it as tenant=acme`, []string{"--header", "tenant"}},
		{`--json: "card" is no test of JSON: write a pointer with a value, as /card/brand=visa`, []string{"--json", "card"}},
		{"the SQL/JSON path: syntax error", []string{"--json", "$."}},
		{`--since "yesterday" is neither a time like 2026-03-01T06:00:00Z or 2026-03-01 nor how long ago, like 2h or 7d`, []string{"--since", "yesterday"}},
		{`--since "-2h" is neither`, []string{"--since=-2h"}},
		{"--until has to be the later one", []string{"--since", "2h", "--until", "1d"}},
		{`--state "parked" is none: write "dead"`, []string{"--state", "parked"}},
		{"--limit 0 is out of range", []string{"--limit", "0"}},
		{"--look 0 is out of range", []string{"--look", "0"}},
		{"write table or json or jsonl, not \"xml\"", []string{"-o", "xml"}},
	} {
		r := dls(append([]string{"list"}, c.args...)...)
		r.expect(t, exitUsage, "", c.want)
		if strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%q is more than one message: %s", c.args, r.stderr)
		}
	}
	for _, command := range []string{"get", "timeline"} {
		dls(command, "x").expect(t, exitUsage, "", `"x" is no id of a dead letter`)
		dls(command, "999").expect(t, exitNotFound, "", "layby: dead letter 999: there is no such dead letter")
	}
	dls("groups", "--limit", "1001").expect(t, exitUsage, "", "--limit 1001 is out of range")
}

func TestDeadLetterGroups(t *testing.T) {
	dls, ask := store(t)
	r := dls("groups")
	r.expect(t, exitDone, "CONSUMER  FINGERPRINT  CLASS    OPEN  TOTAL  RESOURCES  FIRST SEEN            LAST SEEN             SAMPLE  ERROR\n"+
		"orders    f2           Timeout  51    51     51         2026-01-01T10:00:00Z  2026-01-03T12:00:00Z  60      late 60\n"+
		"orders    f1           Timeout  8     9      9          2026-01-01T01:00:00Z  2026-01-01T09:00:00Z  9       late 9\n", "")
	dls("groups", "--limit", "1").expect(t, exitDone, "f2", "there are more")
	dls("groups", "--consumer", "none", "-o", "json").expect(t, exitDone, `"groups": []`, "")
	ask("update {{schema}}.dead_letters set state = 'discarded' where fingerprint = 'f2'")
	if r := dls("groups", "-o", "jsonl"); strings.Count(r.stdout, "\n") != 1 || !strings.Contains(r.stdout, `"awaiting_correction":1`) {
		t.Errorf("open groups: %s", r.stdout)
	}
	if r := dls("groups", "--all", "-o", "jsonl"); strings.Count(r.stdout, "\n") != 2 {
		t.Errorf("all groups: %s", r.stdout)
	}
}

func TestTimelineOfADeadLetter(t *testing.T) {
	dls, ask := store(t)
	ask(`insert into {{schema}}.dead_letter_attempts (letter_id, attempt, started_at, took, tier, error_class, error_text, instance)
		select id, 3, '2026-01-01', interval '1.5 seconds', '1m', 'Timeout', 'late', 'pod-1' from {{schema}}.dead_letters where seq = 10`)
	ask("select set_config('layby.actor', 'ann', false), {{schema}}.replay(id, 'mended') from {{schema}}.dead_letters where seq = 10")
	r := dls("timeline", "10")
	r.expect(t, exitDone, "AT                    WHAT              TIER  TOOK  SAID              BY\n2026-01-01T00:00:00Z  first seen                    t/0@10\n"+
		"2026-01-01T00:00:00Z  attempt 3         1m    1.5s  Timeout: late     pod-1\n", "")
	r.expect(t, exitDone, "replay asked for              mended            ann as ", "")
	dls("timeline", "10", "-o", "jsonl").expect(t, exitDone, `{"at":"2026-01-01T00:00:00Z","what":"attempt","attempt":3,"tier":"1m","took":"1.5s","error_class":"Timeout","error":"late","instance":"pod-1"}`, "")
}

func TestValueOfADeadLetter(t *testing.T) {
	dls, ask := store(t)
	dls("get", "5").expect(t, exitDone, "value         {\"n\":5,\"a\":\"\"}\nsize          14 bytes\n", "")
	dls("get", "5", "--value", "json").expect(t, exitDone, "size          14 bytes\n\nvalue as json\n  {\n    \"n\": 5,\n    \"a\": \"\"\n  }\n", "")
	dls("get", "5", "--value", "hex").expect(t, exitDone, "  00000000  7b 22 6e 22 3a 35", "")
	dls("get", "5", "--value", "json", "-o", "json").expect(t, exitDone, "\"value\": {\n    \"n\": 5,", "")
	dls("get", "5", "--value", "hex", "-o", "json").expect(t, exitDone, `"value": "7b226e22`, "")
	dls("get", "5", "-o", "json").expect(t, exitDone, `"value_bytes": 14`, "")
	ask("update {{schema}}.dead_letters set value = case seq when 6 then 'no json'::bytea end where seq in (6, 7)")
	dls("get", "6", "--value", "json").expect(t, exitUsage, "", "the value of dead letter 6 is no JSON: write --value text or --value hex")
	dls("get", "7").expect(t, exitDone, "value         (null)\nsize          0 bytes\n", "")
	dls("get", "5", "--value", "xml").expect(t, exitUsage, "", "write text or json or hex")
	ask(`insert into {{schema}}.parked_resources (consumer, partition, resource, held_by) select consumer, partition, resource, seq from {{schema}}.dead_letters where seq = 8`)
	for n, want := range []string{"", "1 event waits: t/0@201", "2 events wait, the first is t/0@201"} {
		if n > 0 {
			ask(fmt.Sprintf(`insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due)
				values ('orders', 0, %d, 'o-8', 't', gen_random_uuid(), %[1]d, 0, '', 0, 0, '', now())`, 200+n))
		}
		dls("get", "8").expect(t, exitDone, want, "")
	}
	dls("get", "8", "-o", "json").expect(t, exitDone, "\"behind\": {\n    \"events\": 2,\n    \"exact\": true,\n    \"first\": \"t/0@201\"", "")
}

// Nothing that came with an event or its error reaches a terminal as anything but text that is seen.
func TestNothingOfALetterHarmsATerminal(t *testing.T) {
	run, ask := acting(t)
	ask(`insert into {{schema}}.dead_letter_attempts (letter_id, attempt, started_at, took, tier, error_class, error_text, instance)
		select id, 1, '2026-01-01', interval '1 second', E'\u202e', error_text, error_text, error_text from {{schema}}.dead_letters where seq = 1`)
	ask(`update {{schema}}.dead_letters set consumer = error_text, event_type = error_text, error_class = error_text, instance = error_text, stack = error_text,
		error_chain = array[error_text], error_details = error_text, key = convert_to(error_text, 'UTF8'), headers = jsonb_build_array(jsonb_build_object('key', error_text, 'value', error_text))
		where seq = 1`)
	ask(`select {{schema}}.discard(id, error_text) from {{schema}}.dead_letters where seq = 1`)
	ask(`select {{schema}}.hold('orders', convert_to(E'o\u202e\u0085-1', 'UTF8'), error_text, 0) from {{schema}}.dead_letters where id = 1`)
	ask(`insert into {{schema}}.parked_resources (consumer, partition, resource, held_by) select 'orders', 0, resource, 1 from {{schema}}.dead_letters where id = 1`)
	ask(`insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due, copy, value, attempts)
		select 'orders', 0, 200, resource, error_text, gen_random_uuid(), 200, 0, error_text, 0, 0, error_text, now(), 'body', '{"a":1}', jsonb_build_array(
		jsonb_build_object('error_class', error_text, 'error_text', error_text)) from {{schema}}.dead_letters where id = 1`)
	mean := filepath.Join(t.TempDir(), "mean")
	if err := os.WriteFile(mean, []byte("\x1b[31m\u202e\n\u009b31m\u200b\a"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"dls list --until 2026-01-01T02:00:00Z", "dls get 1", "dls get 1 --value json", "dls get 1 --value hex", "dls groups --all", "dls timeline 1",
		"dls replay 1 --dry-run", "dls amend 1 --dry-run --header a=b", "dls amend 1 --dry-run --force --file " + mean,
		"op list", "audit list", "parked list", "parked get o\u202e\u0085-1", "parked amend 200 --partition 0 --dry-run --force --file " + mean,
	} {
		for _, output := range []string{"table", "json", "jsonl"} {
			if output == "jsonl" && (strings.Contains(command, "get 1") || strings.Contains(command, "amend")) {
				continue
			}
			r := run(append(strings.Split(command, " "), "-o", output)...)
			if r.code != exitDone || !strings.Contains(r.stdout, "202e") && !strings.Contains(command, "hex") {
				t.Errorf("%s -o %s: %+v", command, output, r)
			}
			for _, c := range r.stdout + r.stderr {
				if c != '\n' && !unicode.IsPrint(c) {
					t.Errorf("%s -o %s shows %U", command, output, c)
				}
			}
		}
	}
}

// What is escaped in JSON is the same text when it is read.
func TestHarmlessJSONIsTheSame(t *testing.T) {
	want := "a\x1b\u0085\u202e\u2066\u200b\U000e0001é😀\n\t\x7f"
	var b strings.Builder
	if err := writeJSON(&b, want); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || got != want || !strings.Contains(b.String(), "é😀") {
		t.Errorf("%s is read as %q, %v", b.String(), got, err)
	}
	if strings.ContainsFunc(strings.TrimSpace(b.String()), func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q", b.String())
	}
}

func FuzzPastMoment(f *testing.F) {
	for _, text := range []string{"2h", "7d", "2026-03-01", "2026-03-01T06:00:00Z", "-1d", "99999999999d", ""} {
		f.Add(text)
	}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		at, err := pastMoment("--since", text, now)
		if (err != nil || text == "") && !at.IsZero() {
			t.Errorf("%q: %v, %v", text, at, err)
		}
		if err == nil && !strings.Contains(text, "-") && at.After(now) {
			t.Errorf("%q is to come: %v", text, at)
		}
	})
}
