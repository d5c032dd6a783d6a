package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

// waitingEvents has three events of o-8 wait, the first with a body, behind dead letter 8; and one of o-100, whose bytes are in Kafka.
const waitingEvents = `
insert into {{schema}}.parked_resources (consumer, partition, resource, held_by) values ('orders', 0, 'o-8', 8), ('orders', 0, 'o-100', null);
insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due, copy, value)
select 'orders', 0, 200 + n, case n when 4 then 'o-100'::bytea else 'o-8'::bytea end, 't', gen_random_uuid(), 200 + n, 0, 'order.paid', n, 0, '1m', '2026-01-01', case n when 1 then 'body' end,
	case n when 1 then '{"n":1}'::bytea end
from generate_series(1, 4) n`

func TestParked(t *testing.T) {
	run, ask := acting(t)
	run("parked", "list", "-o", "json").expect(t, exitDone, `"resources": []`, "")
	ask(waitingEvents)
	r := run("parked", "list")
	r.expect(t, exitDone, "dead letter 8, dead", "")
	r.expect(t, exitDone, "its attempt at 2026-01-01T00:00:00Z", "")
	run("parked", "list", "--state", "held", "-o", "jsonl").expect(t, exitDone, `"resource":"o-8","state":"held",`, "")
	run("parked", "list", "--state", "held", "-o", "jsonl").expect(t, exitDone, `"letter_id":8,"letter_state":"dead","held_by_hand":false,"waiting":3,"waiting_exact":true,"head":{"seq":201,`, "")
	run("parked", "list", "--resource", "o-100", "-o", "jsonl").expect(t, exitDone, `"head":{"seq":204,`, "")
	var page struct{ Next string }
	seen := ""
	for range 2 {
		r := run("parked", "list", "--limit", "1", "-o", "json", "--after", page.Next)
		if err := json.Unmarshal([]byte(r.stdout), &page); err != nil {
			t.Fatal(err)
		}
		seen += r.stdout
	}
	if !strings.Contains(seen, "o-8") || !strings.Contains(seen, "o-100") || page.Next != "" {
		t.Errorf("two pages: %s", seen)
	}
	run("parked", "list", "--limit", "1").expect(t, exitDone, "", "there are more: --after ")

	run("parked", "get", "o-8", "--limit", "2").expect(t, exitDone, "resource o-8 of orders, partition 0, held since ", "there are more: --after 202\n")
	run("parked", "get", "o-8").expect(t, exitDone, ": 3 waiting, for dead letter 8, dead\ndead letter 8: Timeout: late 8\nSEQ  SOURCE  TYPE        ATTEMPT", "")
	run("parked", "get", "o-8", "--after", "202", "-o", "jsonl").expect(t, exitDone, `{"seq":203,`, "")
	run("parked", "get", "o-8", "-o", "json").expect(t, exitDone, `"letter": {`, "")
	run("parked", "get", "nobody").expect(t, exitNotFound, "", "nothing of this resource waits in consumer orders")
	for args, want := range map[string]string{
		"list --state x":                     `"x" is no state of a resource: write parked, held, held by hand`,
		"list --after x":                     `"x" is no cursor`,
		"list --limit 0":                     "--limit 0 is out of range",
		"get o-8 --limit 0":                  "--limit 0 is out of range",
		"hold o-8":                           "why? Write --reason",
		"amend x":                            `"x" is no seq`,
		"amend 201 --reason r":               "seq 201 of which partition? Write --partition",
		"amend 204 --partition 0 --reason r": "the value of seq 204 of partition 0 is in Kafka, not here: give the new one with --file",
		"amend 204 --partition 0 --reason r --header a=b": "the headers of seq 204 of partition 0 are in Kafka",
	} {
		run(append([]string{"parked"}, strings.Fields(args)...)...).expect(t, exitUsage, "", want)
	}
}

func TestHoldReleaseAndRetry(t *testing.T) {
	run, ask := acting(t)
	ask(waitingEvents)
	run("parked", "hold", "o-100", "--reason", "r").expect(t, exitDone, "hold of resource o-100 of orders is asked for: operation 1\n", "nobody has it")
	ask(execute)
	run("parked", "list", "--state", "held by hand").expect(t, exitDone, "a person", "")
	run("parked", "hold", "new", "--reason", "r").expect(t, exitNotFound, "", "name its partition")
	run("parked", "hold", "new", "--reason", "r", "--partition", "0", "-o", "json").expect(t, exitDone, `"operation": 2`, "")
	run("parked", "release", "o-100", "--reason", "r").expect(t, exitDone, "release of resource o-100 of orders is asked for: operation 3\n", "")
	run("parked", "retry", "o-100", "--reason", "r").expect(t, exitDone, "operation 4", "")
	run("parked", "retry", "o-100", "--reason", "r", "--consumer", "bills").expect(t, exitNotFound, "", "bills")
	ask(execute)
	run("op", "watch", "3").expect(t, exitDone, "operation 3: 1 done\n", "")
	run("audit", "list", "--resource", "o-100").expect(t, exitDone, "retry", "")
}

func TestAmendOfWhatWaits(t *testing.T) {
	run, ask := acting(t)
	ask(waitingEvents)
	t.Setenv("VISUAL", script(t, `echo '{"n": 2}' > "$1"`))
	run("parked", "amend", "201", "--partition", "0", "--dry-run").expect(t, exitDone, "+  \"n\": 2\n }\nwould amend seq 201 of partition 0: version 1\n", "")
	run("parked", "amend", "201", "--partition", "0", "--reason", "r").expect(t, exitDone, "amendment of seq 201 of partition 0 is asked for: operation 1\n", "")
	run("parked", "amend", "201", "--partition", "0", "--reason", "r", "--expected-version", "3").expect(t, exitConflict, "", "seq 201 of partition 0 is at version 0, not 3")
	run("parked", "amend", "204", "--partition", "0", "--reason", "r", "--file", fileOf(t, "x")).
		expect(t, exitDone, "the value of seq 204 of partition 0 becomes another one of 1 bytes\namendment of seq 204", "")
	run("parked", "amend", "999", "--partition", "0", "--reason", "r").expect(t, exitNotFound, "", "no event of consumer orders waits in partition 0 with seq 999")
	ask(`do $$ begin if (select array_agg({{schema}}.as_text(value) order by id) from {{schema}}.commands) <> array['{"n":2}', 'x'] then raise 'values'; end if; end $$`)
}

func TestSubmit(t *testing.T) {
	run, ask := acting(t)
	for args, want := range map[string]string{
		"--null":                     "why? Write --reason",
		"--reason r":                 "which value? Write --file, or --null for none",
		"--reason r --null --file x": "which value?",
		"--reason r --offset 1":      "--offset of which partition?",
		"--reason r --offset 1 --partition 0 --key k": "--offset has key, value and headers from the record",
		"--reason r --null --header x":                `--header: "x" is no header`,
		"--reason r --offset -1 --partition 0":        "there is no offset -1",
	} {
		run(append([]string{"dls", "submit"}, strings.Fields(args)...)...).expect(t, exitUsage, "", want)
	}
	file := fileOf(t, "a\x00\xff")
	run("dls", "submit", "--key", "o-1", "--header", "type=order.paid", "--header", "empty=", "--file", file, "--reason", "r").
		expect(t, exitDone, "an event of 3 bytes is submitted to orders: operation 1\n", "partition 0 of orders waits for an owner")
	run("dls", "submit", "--null", "--reason", "r", "-o", "json").expect(t, exitDone, `"command": 2`, "")
	run("dls", "submit", "--file", "-", "--reason", "r").expect(t, exitDone, "an event of 0 bytes", "")
	run("dls", "submit", "--partition", "0", "--offset", "17", "--reason", "r").expect(t, exitDone, "a copy of order-events/0@17 is submitted to orders: operation 4\n", "")
	run("dls", "submit", "--null", "--partition", "9", "--reason", "r").expect(t, exitNotFound, "", "consumer orders has no partition 9: it has 1 of them")
	run("dls", "submit", "--null", "--consumer", "bills", "--reason", "r").expect(t, exitNotFound, "", "the configuration has no consumer of the group bills")
	run("dls", "submit", "--file", "/nowhere", "--reason", "r").expect(t, exitNotFound, "", "/nowhere")
	ask(`do $$ begin if (select array_agg(row(key, value, source_offset, topic)::text order by id) from {{schema}}.commands) is distinct from array[
		row('o-1'::bytea, '\x6100ff'::bytea, null, null)::text, row(null, null, null, null)::text, row(null, ''::bytea, null, null)::text, row(null, null, 17, 'order-events')::text]
		then raise '%', (select array_agg(row(key, value, source_offset, topic)::text order by id) from {{schema}}.commands); end if; end $$`)
}

func TestAudit(t *testing.T) {
	run, ask := acting(t)
	for _, id := range []string{"5", "6", "7"} {
		run("dls", "discard", id, "--reason", "a test of "+id).expect(t, exitDone, "", "")
	}
	r := run("audit", "list")
	r.expect(t, exitDone, "discard", "")
	if n := strings.Count(r.stdout, "\n"); n != 4 {
		t.Errorf("%d lines: %s", n, r.stdout)
	}
	run("audit", "list", "--letter", "6", "-o", "jsonl").expect(t, exitDone, `"action":"discard","reason":"a test of 6","consumer":"orders","partition":0,"resource":"o-6","letter_id":6,`, "")
	r = run("audit", "list", "--limit", "2", "--action", "discard", "--by", actor())
	_, after, _ := strings.Cut(strings.TrimSpace(r.stderr), "--after ")
	run("audit", "list", "--limit", "2", "--action", "discard", "--by", actor(), "--after", after).expect(t, exitDone, "a test of 5", "")
	for args, want := range map[string]string{
		"--after " + after: "belongs to a list with another filter",
		"--after x":        `--after: "x" is no cursor`,
		"--letter 0":       "--letter 0 is no id",
		"--since then":     `--since "then" is neither`,
		"--limit 0":        "--limit 0 is out of range",
		"--look 0":         "--look 0 is out of range",
	} {
		run(append([]string{"audit", "list"}, strings.Fields(args)...)...).expect(t, exitUsage, "", want)
	}
	run("audit", "list", "--action", "replay", "--look", "2").expect(t, exitDone, "AT ", "looked at 2 rows, back to ")
	ask("do $$ begin if exists (select from {{schema}}.audit_log where actor is null) then raise 'no actor'; end if; end $$")
}
