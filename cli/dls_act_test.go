package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/layby-go/layby/dls"
)

// execute has the commands that wait executed, as an owner does.
const execute = `select {{schema}}.execute_command(consumer, partition, id, 100000 + id) from {{schema}}.commands where executed_at is null order by id`

// ownerless gives the letters of store a partition that an owner has let go.
const ownerless = `insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count, instance, clean, ended_at)
	values ('orders', 0, 'k', gen_random_uuid(), 1, 'pod-1', true, '2026-01-01')`

// acting is a store whose letters can be acted on, though nobody has their partition.
func acting(t *testing.T) (run func(args ...string) result, ask func(sql string)) {
	t.Helper()
	run, ask = storeOf(t)
	ask(ownerless)
	return run, ask
}

func TestReplayOfOne(t *testing.T) {
	run, ask := acting(t)
	run("dls", "replay", "5", "--reason", "the bank is back").expect(t, exitDone, "replay of 1 dead letter is asked for: operation 1\n",
		"partition 0 of orders waits for an owner: nobody has it, since 2026-01-01T00:00:00Z (last pod-1)\nto follow it: layby op watch 1\n")
	run("op", "list").expect(t, exitDone, "replay  running  1         1 waiting", "")
	ask(execute)
	run("dls", "replay", "5", "--reason", "r").expect(t, exitConflict, "", "layby: dead letter 5: it is replaying: only what is dead or awaiting correction can be asked to replay")
	ask("update {{schema}}.dead_letters set state = 'healed' where id = 5")
	run("op", "watch", "1").expect(t, exitDone, "operation 1: 1 healed\n", "")
	run("op", "list").expect(t, exitDone, "finished", "")
	run("dls", "replay", "999", "--reason", "r").expect(t, exitNotFound, "", "dead letter 999: there is no such dead letter")
}

func TestADryRunChangesNothing(t *testing.T) {
	run, ask := acting(t)
	ask("update {{schema}}.dead_letters set resource = 'o-8' where id = 9")
	ask("insert into {{schema}}.parked_resources (consumer, partition, resource, held_by) values ('orders', 0, 'o-8', 8)")
	ask(`insert into {{schema}}.parked_events (consumer, partition, seq, resource, topic, topic_id, source_offset, leader_epoch, event_type, attempt, spent, tier, due)
		values ('orders', 0, 200, 'o-8', 't', gen_random_uuid(), 200, 0, '', 0, 0, '', now())`)
	run("dls", "replay", "--fingerprint", "f1", "--dry-run", "--rate", "2", "--canary", "1").expect(t, exitDone,
		"would replay 8 dead letters of 7 resources, with 1 event behind\nfirst 1 resource, the others when that has healed\n"+
			"at 2 resources a second it takes 4 seconds or more\n", "")
	var plan struct {
		Letters, Resources int
		IDs                []int64
		Behind             struct{ Events int }
		Skipped            []struct {
			Why string
			IDs []int64
		}
		First []struct {
			Resource any
			Letters  int
			State    string
		} `json:"first_resources"`
	}
	r := run("dls", "replay", "2", "8", "9", "999", "--dry-run", "-o", "json")
	if err := json.Unmarshal([]byte(r.stdout), &plan); err != nil || r.code != exitDone {
		t.Fatalf("%v: %+v", err, r)
	}
	if plan.Letters != 2 || plan.Resources != 1 || plan.Behind.Events != 1 || len(plan.Skipped) != 2 || plan.First[0].State != "held" || plan.First[0].Letters != 2 {
		t.Errorf("%+v", plan)
	}
	if lines := run("dls", "replay", "8", "--dry-run", "-o", "jsonl").stdout; strings.Count(lines, "\n") != 1 {
		t.Errorf("%q is no line", lines)
	}
	ask("do $$ begin if exists (select from {{schema}}.commands) or exists (select from {{schema}}.audit_log) then raise 'changed'; end if; end $$")
}

func TestMoreThanOneNeedsYesWithoutATerminal(t *testing.T) {
	run, ask := acting(t)
	for _, act := range []string{"replay", "discard", "advance"} {
		run("dls", act, "5", "6", "--reason", "r").expect(t, exitUsage, "", "layby: "+act+" 2 dead letters of 2 resources? Say so with --yes, or look first with --dry-run")
		run("dls", act, "--text", "late", "--reason", "r").expect(t, exitUsage, "", act+" 59 dead letters of 59 resources?")
	}
	ask("do $$ begin if exists (select from {{schema}}.commands) then raise 'changed'; end if; end $$")
	run("dls", "discard", "2", "5", "6", "999", "--reason", "a test", "--yes").expect(t, exitDone,
		"discard of 2 dead letters is asked for: operation 1\nskipped 1 (2): it is healed: only what is dead", "")
	ask(execute)
	run("dls", "list", "--state", "discarded", "--count").expect(t, exitDone, "2\n", "")
	run("op", "watch", "1").expect(t, exitDone, "operation 1: 2 done\n", "")
	// Whatever one of them is, one letter is not asked about.
	run("dls", "advance", "2", "7", "--reason", "r").expect(t, exitDone, "advance of 1 dead letter is asked for: operation 2", "")
}

func TestMistakesInAnAct(t *testing.T) {
	run, _ := acting(t)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"replay", exitUsage, "which dead letters? Write their ids, or flags that select them"},
		{"replay 5 --type x --reason r", exitUsage, "Name them, or select them with flags, not both"},
		{"replay five --reason r", exitUsage, `"five" is no id of a dead letter`},
		{"replay 5", exitUsage, "why? Write --reason"},
		{"replay 5 --reason r --rate 0", exitUsage, "--rate 0 is none"},
		{"replay 5 --reason r --rate NaN", exitUsage, "--rate NaN is none"},
		{"replay 5 --reason r --rate Inf", exitUsage, "layby.rate is Infinity"},
		{"replay 5 --reason r --canary -1", exitUsage, "--canary -1 is none"},
		{"replay 5 --reason r --stop-above 101", exitUsage, "layby.stop_above is 101"},
		{"replay --state undead --reason r", exitUsage, `--state "undead" is none`},
		{"replay --type none --reason r --yes", exitNotFound, "no dead letter to replay is selected"},
		{"replay --type none --reason r", exitNotFound, "no dead letter to replay is selected"},
		{"replay --text late --look 5 --reason r --yes", exitUsage, "5 dead letters were looked at"},
		{"replay 2 2 999 --reason r --yes", exitConflict, "none of these dead letters can be asked to replay\nskipped 1 (2): it is healed"},
		{"replay 998 999 --reason r", exitNotFound, "skipped 2 (998, 999): there is no such dead letter"},
		{"discard 5 --reason r --canary 1", exitUsage, "unknown flag: --canary"},
	} {
		run(append([]string{"dls"}, strings.Fields(c.args)...)...).expect(t, c.code, "", c.want)
	}
	for _, action := range []string{"pause", "resume", "cancel"} {
		run("op", action, "1").expect(t, exitUsage, "", "why? Write --reason")
		run("op", action, "x", "--reason", "r").expect(t, exitUsage, "", `"x" is no id of an operation`)
		run("op", action, "7", "--reason", "r").expect(t, exitNotFound, "", "there is no operation 7")
	}
	run("op", "watch", "7").expect(t, exitNotFound, "", "there is no operation 7")
	run("op", "list", "--limit", "0").expect(t, exitUsage, "", "--limit 0 is out of range")
}

func TestOperationsAreSteered(t *testing.T) {
	run, ask := acting(t)
	run("dls", "replay", "5", "6", "7", "--reason", "r", "--yes", "--canary", "1", "-o", "json").expect(t, exitDone, `"operation": 1`, "nobody has it")
	run("op", "pause", "1", "--reason", "the bank is slow").expect(t, exitDone, "operation 1 is paused: 3 waiting\n", "")
	run("op", "pause", "1", "--reason", "r").expect(t, exitConflict, "", "operation 1")
	run("op", "resume", "1", "--reason", "r", "-o", "json").expect(t, exitDone, `"state": "running"`, "")
	run("op", "pause", "1", "--reason", "r", "-o", "json").expect(t, exitDone, `"state": "paused"`, "")
	run("op", "resume", "1", "--reason", "r").expect(t, exitDone, "operation 1 is running", "")
	run("op", "cancel", "1", "--reason", "wrong ones").expect(t, exitDone, "operation 1 is cancelled: 3 cancelled\n", "")
	run("op", "watch", "1").expect(t, exitConflict, "", "operation 1 was cancelled")
	run("dls", "discard", "8", "--reason", "r").expect(t, exitDone, "operation 2", "")
	run("dls", "replay", "8", "--reason", "r").expect(t, exitDone, "operation 3", "")
	ask(execute)
	run("op", "watch", "3").expect(t, exitConflict, "operation 3: 1 without effect\n1 without effect: ", "nothing of it had an effect")
	run("dls", "replay", "9", "10", "--reason", "r", "--yes").expect(t, exitDone, "operation 4", "")
	ask(execute)
	ask("update {{schema}}.dead_letters set state = case id when 9 then 'dead' else 'healed' end, failed_at = now() where id in (9, 10)")
	run("op", "watch", "4").expect(t, exitFailed, "operation 4: 1 healed, 1 died again\n", "1 dead letter died again")
	ask("update {{schema}}.operations set state = 'stopped', note = '5 of 9 died again' where id = 4")
	run("op", "watch", "4").expect(t, exitFailed, "", "operation 4 is stopped: 5 of 9 died again")
	r := run("op", "list", "--limit", "2", "-o", "jsonl")
	r.expect(t, exitDone, `"id":4,`, "there are more: --before 3")
	run("op", "list", "--before", "3", "-o", "json").expect(t, exitDone, `"state": "cancelled"`, "")
}

func TestAFlagWithoutAValueSelectsNothing(t *testing.T) {
	run, ask := acting(t)
	for _, flag := range []string{"--consumer", "--type", "--class", "--fingerprint", "--correlation", "--text", "--since", "--until", "--state"} {
		run("dls", "discard", flag, "", "--reason", "r", "--yes").expect(t, exitUsage, "", flag+" is empty")
		run("dls", "list", "--consumer", "orders", flag+"=").expect(t, exitUsage, "", flag+" is empty")
	}
	run("dls", "list", "--resource", "").expect(t, exitDone, "", "")
	ask("do $$ begin if exists (select from {{schema}}.commands) then raise 'asked'; end if; end $$")
}

func TestWhatIsSkippedIsSaidOfOneThatIsLeftToo(t *testing.T) {
	run, _ := acting(t)
	run("dls", "replay", "5", "999", "--reason", "r").expect(t, exitDone, "skipped 1 (999): there is no such dead letter\n", "")
	run("dls", "replay", "8", "998", "--reason", "r", "-o", "json").expect(t, exitDone, `"why": "there is no such dead letter"`, "")
}

func TestWhoCanFollowNoMoreIsToldThatItGoesOn(t *testing.T) {
	for err, want := range map[error]bool{io.ErrUnexpectedEOF: true, context.Canceled: true, fmt.Errorf("%w", dls.ErrNotFound): false} {
		var stderr strings.Builder
		a := &app{stderr: &stderr}
		if got := a.leaves(7, err); !errors.Is(got, err) || strings.Contains(stderr.String(), "operation 7 goes on; to follow it: layby op watch 7") != want {
			t.Errorf("%v: %q", err, stderr.String())
		}
	}
}
