package integration

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// psql runs a script as a person does who may act on dead letters, and returns what it answers and complains of.
func (w *world) psql(want int, script string) (out, problem string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1", w.pool.Config().ConnString())
	cmd.Stdin = strings.NewReader("set role layby_operator;\n" + script)
	var answers, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &answers, &errors
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
		w.t.Fatalf("%s\npsql ends with %v, wanted %d:\n%s%s", script, err, want, &answers, &errors)
	}
	return strings.TrimSpace(answers.String()), errors.String()
}

// psqlFailed is psql's exit code for a script of which a statement failed.
const psqlFailed = 3

// TestAPersonWorksWithPsql goes from the groups of dead letters to their replay with nothing but psql.
func TestAPersonWorksWithPsql(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{})
	orders := names("order-", 6)
	w.service.on(func(c *call) *answer {
		if c.n == 1 && !bytes.Contains(c.value, []byte("corrected")) {
			return permanent
		}
		return nil
	})
	w.rounds(3, orders...)
	w.start()
	w.rest(20 * time.Second)

	out, _ := w.psql(0, "select open, resources, error_class from layby.dead_letter_groups;\nselect count(*) from layby.parked where held_by like 'dead letter %';")
	if out != "6|6|HTTP422\n6" {
		t.Errorf("the views say %q", out)
	}
	// What can't be done names the row and the reason, and leaves all as it was.
	id := w.letterOf(orders[0], 1).ID
	for script, want := range map[string]string{
		"select layby.replay(id, ' ') from layby.dead_letters;":                                               "ERROR:  replay needs a reason",
		fmt.Sprintf("select layby.replay(id + 1000000, 'mended') from layby.dead_letters where id = %d;", id): fmt.Sprintf("ERROR:  there is no dead letter %d", id+1000000),
		"set layby.rate = 'fast'; select layby.replay(id, 'mended') from layby.dead_letters;":                 "ERROR:  the setting layby.rate is 'fast': it must be a number",
		fmt.Sprintf("select layby.amend(%d, '{}'::jsonb, 'corrected', expected_version => 4);", id):           fmt.Sprintf("ERROR:  dead letter %d is at version 0, not 4: somebody amended it meanwhile", id),
		fmt.Sprintf("select layby.amend(%d, value || null, 'corrected') from layby.dead_letters;", id):        fmt.Sprintf("ERROR:  dead letter %d: the new value is null", id),
		"update layby.dead_letters set value = 'x';":                                                          "ERROR:  permission denied for table dead_letters",
		"delete from layby.audit_log;":                                                                        "ERROR:  permission denied for table audit_log",
		fmt.Sprintf("select layby.retry_now('%s', '%s', 'now', 99);", w.group, orders[0]):                     fmt.Sprintf("ERROR:  nothing of this resource waits in consumer %s", w.group),
		fmt.Sprintf("select layby.replay(%d, 'x'); select layby.replay(%d, 'y') where 1/0 = 1;", id, id):      "ERROR:  division by zero",
	} {
		if _, problem := w.psql(psqlFailed, "begin;\n"+script); !strings.Contains(problem, want) {
			t.Errorf("%s\nsays %q, wanted %q", script, problem, want)
		}
	}
	if n := sqlValue[int](w, "select count(*) from layby.commands"); n != 0 {
		t.Errorf("%d commands were asked for by what failed", n)
	}

	// One is discarded; the others are corrected and replayed, one first.
	w.psql(0, fmt.Sprintf("select layby.discard(%d, 'a test order');", id))
	out, _ = w.psql(0, `
select distinct layby.amend(id, jsonb_set(layby.as_json(value), '{corrected}', 'true'), 'as the customer meant') from layby.dead_letters
 where state = 'dead' and error_class = 'HTTP422' and failed_at > now() - interval '1 hour' and id <> `+fmt.Sprint(id)+`;
begin;
set local layby.rate = 100;
set local layby.canary = 1;
set local layby.stop_above = 20;
select count(layby.replay(id, 'corrected')) from layby.dead_letters where version = 1;
commit;
select rate, canary, stop_above, commands, resources from layby.operation_progress order by id desc limit 1;`)
	if out != "1\n5\n100|1|20|5|5" {
		t.Errorf("the replay answers %q", out)
	}
	eventually(t, 20*time.Second, "the others follow when the first has healed", func() (bool, string) {
		healed := sqlValue[int](w, "select healed from layby.operation_progress order by id desc limit 1")
		return healed == 5, fmt.Sprint(healed, " are healed")
	})
	w.rest(20 * time.Second)
	for i, order := range orders {
		want := []string{"0:204", "1:422", "1:204", "2:204"}
		if i == 0 {
			want = []string{"0:204", "1:422", "2:204"}
		}
		w.expectRuns(order, want...)
	}
	out, _ = w.psql(0, `
select open, healed, discarded from layby.dead_letter_groups;
select state, healed, died_again, waiting from layby.operation_progress order by id desc limit 1;
select string_agg(what, ', ' order by at) from layby.timeline where letter_id = `+fmt.Sprint(w.letterOf(orders[1], 1).ID)+`;`)
	if want := "0|5|1\nfinished|5|0|0\n"; !strings.HasPrefix(out, want) {
		t.Errorf("in the end the views say %q, wanted %q", out, want)
	}
	for _, happened := range []string{"attempt", "amended", "replay carried out", "healed"} {
		if !strings.Contains(out, happened) {
			t.Errorf("the timeline lacks %s: %s", happened, out)
		}
	}
	w.check(except{})
}
