package verify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby/verify"
)

// story builds a log from short words, a second apart:
//
//	new n R       event n of resource R is produced
//	run c n M     call c of event n starts at member M, attempt 1, under a token of its own; a=N, t=N and sum=S say more
//	ok|fail|away|cancel c, tell c to stop
//	commit n, park n, record n, pass n, crash M, freeze M, thaw M, cut M, reach M
//	amend n SUM   event n has other bytes from now on
//	is n STATE    where event n is stored at the end
//	execute C, pause M [person], resume M, join M, stop M, mend
//	grow          the topic has more partitions; an offset from 100 on lies in another one
//	rewind n      all from event n on is to run again; delete n: the records below n are gone
//	lose [R]      Postgres lost what it knew of resource R; break: something is wrong until it is mended
//	wait D        nothing happens for so long
func story(t *testing.T, lines ...string) []verify.Entry {
	t.Helper()
	var log []verify.Entry
	tokens := map[string]int64{}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	number := func(s string) (n int64) {
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		return n
	}
	kinds := map[string]verify.Kind{
		"new": verify.KindProduced, "commit": verify.KindCommitted, "park": verify.KindParked, "record": verify.KindRecorded,
		"pass": verify.KindPassed, "hurry": verify.KindHurried, "amend": verify.KindAmended, "crash": verify.KindCrashed, "freeze": verify.KindFrozen, "thaw": verify.KindThawed,
		"is": verify.KindStored, "run": verify.KindStarted, "cut": verify.KindCut, "reach": verify.KindReached,
		"grow": verify.KindGrown, "execute": verify.KindExecuted, "pause": verify.KindPaused, "resume": verify.KindResumed, "join": verify.KindJoined, "stop": verify.KindStopped, "mend": verify.KindMended,
		"rewind": verify.KindRewound, "delete": verify.KindDeleted, "lose": verify.KindLost, "break": verify.KindBroken,
	}
	outcomes := map[string]verify.Outcome{
		"ok": verify.OutcomeSucceeded, "fail": verify.OutcomeFailed, "away": verify.OutcomeUnavailable, "cancel": verify.OutcomeCancelled,
	}
	defer func() {
		for i := range log {
			if log[i].Offset >= elsewhere {
				log[i].Partition = 1
			}
		}
	}()
	for _, line := range lines {
		at = at.Add(time.Second)
		w := strings.Fields(line)
		e := verify.Entry{Kind: kinds[w[0]], At: at, Topic: "orders"}
		switch w[0] {
		case "wait":
			d, err := time.ParseDuration(w[1])
			if err != nil {
				t.Fatal(err)
			}
			at = at.Add(d)
			continue
		case "ok", "fail", "away", "cancel":
			e.Kind, e.Call, e.Outcome = verify.KindEnded, w[1], outcomes[w[0]]
		case "tell":
			e.Kind, e.Call = verify.KindCancelled, w[1]
		case "mend", "grow", "break":
		case "lose":
			if len(w) > 1 {
				e.Resource = w[1]
			}
		case "execute":
			e.Command = w[1]
		case "pause", "resume":
			e.Member = w[1]
			if len(w) > 2 {
				e.Reason = w[2]
			}
		case "crash", "freeze", "thaw", "cut", "reach", "join", "stop":
			e.Member = w[1]
		case "new":
			e.Offset, e.Resource, e.Sum = number(w[1]), w[2], "sum "+w[1]
			if len(w) > 3 {
				e.Topic = strings.TrimPrefix(w[3], "topic=")
			}
		case "run":
			if tokens[w[3]] == 0 {
				tokens[w[3]] = int64(len(tokens) + 1)
			}
			e.Call, e.Offset, e.Member, e.Attempt, e.Token, e.Sum = w[1], number(w[2]), w[3], 1, tokens[w[3]], "sum "+w[2]
			for _, more := range w[4:] {
				switch name, value, _ := strings.Cut(more, "="); name {
				case "a":
					e.Attempt = int(number(value))
				case "t":
					e.Token = number(value)
				case "topic":
					e.Topic = value
				default:
					e.Sum = value
				}
			}
		case "amend":
			e.Offset, e.Sum = number(w[1]), w[2]
		case "is":
			e.Offset, e.State = number(w[1]), verify.State(w[2])
		default:
			e.Offset = number(w[1])
		}
		log = append(log, e)
	}
	return log
}

// elsewhere is the first offset of a story that lies in another partition.
const elsewhere = 100

// TestEachCheckFails has, for each check, runs in which it finds something, beside the run that differs in that alone and
// in which it finds nothing.
func TestEachCheckFails(t *testing.T) {
	delays := verify.Options{Delays: []time.Duration{0, time.Minute}}
	for _, c := range []struct {
		name      string
		check     verify.Check
		opts      verify.Options
		good, bad []string
	}{
		{
			"an event runs in a new partition before what waits in the old one", verify.CheckOrder,
			verify.Options{},
			[]string{"new 0 A", "grow", "new 100 A", "run a 0 m t=1", "ok a", "run b 100 m t=1", "ok b"},
			[]string{"new 0 A", "grow", "new 100 A", "run b 100 m t=1", "ok b", "run a 0 m t=1", "ok a"},
		},
		{
			"two events of a resource run at once in two partitions", verify.CheckExclusion,
			verify.Options{},
			[]string{"new 0 A", "grow", "new 100 A", "run a 0 m", "ok a", "run b 100 m", "ok b"},
			[]string{"new 0 A", "grow", "new 100 A", "run a 0 m", "run b 100 m", "ok a", "ok b"},
		},
		{
			"the token of a resource goes back in its new partition", verify.CheckFencing,
			verify.Options{},
			[]string{"new 0 A", "grow", "new 100 A", "run a 0 m t=2", "ok a", "run b 100 m t=2", "ok b"},
			[]string{"new 0 A", "grow", "new 100 A", "run a 0 m t=2", "ok a", "run b 100 m t=1", "ok b"},
		},
		{
			"a second run after a rewind is out of order", verify.CheckOrder,
			verify.Options{},
			[]string{"new 0 A", "new 1 A", "run a 0 m", "ok a", "run b 1 m", "ok b", "rewind 0", "run c 0 n t=2", "ok c", "run d 1 n t=2", "ok d"},
			[]string{"new 0 A", "new 1 A", "run a 0 m", "ok a", "run b 1 m", "ok b", "rewind 0", "run d 1 n t=2", "ok d", "run c 0 n t=2", "ok c"},
		},
		{
			"an event before the place of a rewind runs again", verify.CheckRepeats,
			verify.Options{},
			[]string{"new 0 A", "new 1 A", "run a 0 m", "ok a", "run b 1 m", "ok b", "rewind 0", "run c 0 n t=2", "ok c", "run d 1 n t=2", "ok d"},
			[]string{"new 0 A", "new 1 A", "run a 0 m", "ok a", "run b 1 m", "ok b", "rewind 1", "run c 0 n t=2", "ok c", "run d 1 n t=2", "ok d"},
		},
		{
			"a rewind has an event run twice", verify.CheckRepeats,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "ok a", "rewind 0", "run b 0 n t=2", "ok b", "rewind 0", "run c 0 n t=2", "ok c"},
			[]string{"new 0 A", "run a 0 m", "ok a", "rewind 0", "run b 0 n t=2", "ok b", "run c 0 n t=2", "ok c"},
		},
		{
			"a dead letter runs twice after a rewind: it was read again as well", verify.CheckRecorded,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "fail a", "rewind 0", "run b 0 n t=2", "ok b", "record 0", "run c 0 n t=2", "ok c", "is 0 healed"},
			[]string{"new 0 A", "run a 0 m", "fail a", "rewind 0", "run b 0 n t=2", "ok b", "record 0", "run c 0 n t=2", "ok c", "run d 0 n t=2", "ok d", "is 0 healed"},
		},
		{
			"a commit after a rewind passes what did not run again", verify.CheckCommits,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "ok a", "commit 1", "rewind 0", "commit 0", "run b 0 n t=2", "ok b", "commit 1"},
			[]string{"new 0 A", "run a 0 m", "ok a", "commit 1", "rewind 0", "commit 0", "commit 1", "run b 0 n t=2", "ok b"},
		},
		{
			"a resource of which Postgres lost nothing runs again", verify.CheckRepeats,
			verify.Options{},
			[]string{"new 0 A", "new 1 B", "run a 0 m", "ok a", "run b 1 m", "ok b", "lose A", "run c 0 n t=2", "ok c"},
			[]string{"new 0 A", "new 1 B", "run a 0 m", "ok a", "run b 1 m", "ok b", "lose B", "run c 0 n t=2", "ok c"},
		},
		{
			"what Postgres lost stays lost", verify.CheckLoss,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "fail a", "pass 0", "lose A", "run b 0 n t=2", "ok b"},
			[]string{"new 0 A", "run a 0 m", "fail a", "pass 0", "lose A", "run b 0 n t=2", "fail b"},
		},
		{
			"a commit goes back, and Postgres lost nothing", verify.CheckCommits,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "ok a", "commit 1", "lose A", "lose", "commit 0", "run b 0 n t=2", "ok b", "commit 1"},
			[]string{"new 0 A", "run a 0 m", "ok a", "lose A", "commit 1", "commit 0"},
		},
		{
			"what was committed runs again, in a partition that was taken up after a loss", verify.CheckRepeats,
			verify.Options{},
			[]string{"new 0 A", "new 1 B", "run a 0 m", "ok a", "run b 1 m", "ok b", "commit 1", "lose", "run c 1 n t=2", "ok c"},
			[]string{"new 0 A", "new 1 B", "run a 0 m", "ok a", "run b 1 m", "ok b", "commit 2", "lose", "run c 1 n t=2", "ok c"},
		},
		{
			"a command that was executed before the loss is executed twice after it", verify.CheckCommands,
			verify.Options{},
			[]string{"execute 1", "lose A", "execute 1"},
			[]string{"execute 1", "lose A", "execute 1", "execute 1"},
		},
		{
			"an event is deleted that the group had committed", verify.CheckLoss,
			verify.Options{},
			[]string{"new 0 A", "park 0", "delete 1", "commit 1"},
			[]string{"new 0 A", "park 0", "commit 1", "delete 1"},
		},
		{
			"two events of a resource run at once, of two topics", verify.CheckExclusion,
			verify.Options{},
			[]string{"new 0 A", "new 0 A topic=b", "run a 0 m", "ok a", "run b 0 m topic=b", "ok b"},
			[]string{"new 0 A", "new 0 A topic=b", "run a 0 m", "run b 0 m topic=b", "ok a", "ok b"},
		},
		{
			"an event waits behind another resource's", verify.CheckIsolation,
			verify.Options{Wait: time.Minute},
			[]string{"new 0 A", "new 1 B", "run a 0 m", "fail a", "park 0", "run b 1 m", "ok b", "wait 2m", "run c 0 m a=2", "ok c"},
			[]string{"new 0 A", "new 1 B", "run a 0 m", "fail a", "park 0", "wait 2m", "run c 0 m a=2", "ok c", "run b 1 m", "ok b"},
		},
		{
			"an event waits though its resource is free again", verify.CheckIsolation,
			verify.Options{Wait: time.Minute},
			[]string{"new 0 A", "new 1 A", "run a 0 m", "wait 3m", "ok a", "run b 1 m", "ok b"},
			[]string{"new 0 A", "new 1 A", "run a 0 m", "ok a", "wait 3m", "run b 1 m", "ok b"},
		},
		{
			"an event waits though what its resource has in another topic is settled", verify.CheckIsolation,
			verify.Options{Wait: time.Minute},
			[]string{"new 0 A topic=b", "new 0 A", "run a 0 m", "fail a", "park 0", "wait 3m", "run b 0 m a=2", "ok b", "run c 0 m topic=b", "ok c"},
			[]string{"new 0 A topic=b", "new 0 A", "run a 0 m", "fail a", "park 0", "run b 0 m a=2", "ok b", "wait 3m", "run c 0 m topic=b", "ok c"},
		},
		{
			"an event waits when all is mended", verify.CheckIsolation,
			verify.Options{Wait: time.Minute},
			[]string{"new 0 A", "break", "wait 3m", "mend", "wait 90s", "run a 0 m", "ok a"},
			[]string{"new 0 A", "break", "mend", "wait 150s", "run a 0 m", "ok a"},
		},
		{
			"an event waits when its member reaches the servers again", verify.CheckIsolation,
			verify.Options{Wait: time.Minute},
			[]string{"new 0 A", "cut m", "wait 3m", "reach m", "wait 90s", "run a 0 m", "ok a"},
			[]string{"new 0 A", "cut m", "reach m", "wait 150s", "run a 0 m", "ok a"},
		},
		{
			"an event waits long after a pause", verify.CheckIsolation,
			verify.Options{Wait: time.Minute},
			[]string{"new 0 A", "pause m", "wait 3m", "resume m", "wait 90s", "run a 0 m", "ok a"},
			[]string{"new 0 A", "pause m", "resume m", "wait 150s", "run a 0 m", "ok a"},
		},
		{
			"without an order, an event waits", verify.CheckIsolation,
			verify.Options{Wait: time.Minute, Ordering: verify.OrderingNone},
			[]string{"new 0 A", "run a 0 m", "wait 3m", "ok a"},
			[]string{"new 0 A", "wait 3m", "run a 0 m", "ok a"},
		},
		{
			"an event is nowhere", verify.CheckLoss,
			verify.Options{},
			[]string{"new 0 A", "is 0 dead"},
			[]string{"new 0 A"},
		},
		{
			"an offset behind an event is committed before it is reached", verify.CheckLoss,
			verify.Options{Partial: true},
			[]string{"new 0 A", "park 0", "commit 0"},
			[]string{"new 0 A", "park 0", "commit 1"},
		},
		{
			"only an owner that was replaced succeeded", verify.CheckLoss,
			verify.Options{},
			[]string{"new 0 A", "new 1 B", "run a 0 m", "ok a", "run b 1 n t=2", "ok b"},
			[]string{"new 0 A", "new 1 B", "run a 0 m", "run b 1 n t=2", "ok b", "ok a"},
		},
		{
			"an event succeeded and is dead", verify.CheckLoss,
			verify.Options{},
			[]string{"new 0 A", "run c 0 m", "fail c", "is 0 dead"},
			[]string{"new 0 A", "run c 0 m", "ok c", "is 0 dead"},
		},
		{
			"an event waits to run again, and nothing had happened to the member", verify.CheckLoss,
			verify.Options{},
			[]string{"new 0 A", "run c 0 m", "ok c", "crash m", "is 0 held"},
			[]string{"new 0 A", "crash m", "run c 0 m", "ok c", "is 0 held"},
		},
		{
			"an event is healed and never succeeded", verify.CheckLoss,
			verify.Options{},
			[]string{"new 0 A", "run c 0 m", "ok c", "is 0 healed"},
			[]string{"new 0 A", "run c 0 m", "fail c", "is 0 healed"},
		},
		{
			"an event overtakes", verify.CheckOrder,
			verify.Options{},
			[]string{"new 0 A", "new 1 A", "run a 0 m", "fail a", "pass 0", "run b 1 m", "ok b"},
			[]string{"new 0 A", "new 1 A", "run a 0 m", "fail a", "run b 1 m", "ok b", "pass 0"},
		},
		{
			"an owner goes back", verify.CheckOrder,
			verify.Options{},
			[]string{"new 0 A", "new 1 A", "run a 0 m", "ok a", "run b 1 m", "ok b", "crash m", "run c 0 n", "ok c", "run d 1 n", "ok d"},
			[]string{"new 0 A", "new 1 A", "run a 0 m", "ok a", "run b 1 m", "ok b", "crash m", "run d 1 n", "ok d", "run c 0 n", "ok c"},
		},
		{
			"another resource of the partition overtakes under block", verify.CheckOrder,
			verify.Options{Ordering: verify.OrderingBlock},
			[]string{"new 0 A", "new 1 B", "run a 0 m", "ok a", "run b 1 m", "ok b"},
			[]string{"new 0 A", "new 1 B", "run b 1 m", "ok b", "run a 0 m", "ok a"},
		},
		{
			"a run after a success of a member that stopped", verify.CheckRepeats,
			verify.Options{},
			[]string{"new 0 A", "join m", "run a 0 m", "ok a", "run b 0 n", "ok b"},
			[]string{"new 0 A", "join m", "run a 0 m", "ok a", "stop m", "run b 0 n", "ok b"},
		},
		{
			"a run beside that of a member whose log goes on", verify.CheckExclusion,
			verify.Options{},
			[]string{"new 0 A", "join m", "run a 0 m", "run b 0 n", "ok b"},
			[]string{"new 0 A", "join m", "run a 0 m", "run b 0 n", "ok b", "ok a"},
		},
		{
			"two calls at once", verify.CheckExclusion,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "crash m", "run b 0 n", "ok b"},
			[]string{"new 0 A", "run a 0 m", "run b 0 n", "crash m", "ok b"},
		},
		{
			"a run after a success that was recorded", verify.CheckRecorded,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "ok a", "crash m", "run b 0 n", "ok b", "record 0"},
			[]string{"new 0 A", "run a 0 m", "ok a", "record 0", "crash m", "run b 0 n", "ok b"},
		},
		{
			"a run after a success", verify.CheckRepeats,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "ok a", "crash m", "run b 0 n", "ok b"},
			[]string{"new 0 A", "run a 0 m", "ok a", "crash n", "run b 0 n", "ok b"},
		},
		{
			"a run after a success and its commit", verify.CheckRepeats,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "ok a", "commit 0", "crash m", "run b 0 n", "ok b"},
			[]string{"new 0 A", "run a 0 m", "ok a", "commit 1", "crash m", "run b 0 n", "ok b"},
		},
		{
			"an old owner starts", verify.CheckFencing,
			verify.Options{},
			[]string{"new 0 A", "new 1 B", "run a 0 m t=2", "ok a", "run b 1 m t=2", "ok b"},
			[]string{"new 0 A", "new 1 B", "run a 0 m t=2", "ok a", "run b 1 m t=1", "ok b"},
		},
		{
			"other bytes", verify.CheckBytes,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "ok a"},
			[]string{"new 0 A", "run a 0 m sum=other", "ok a"},
		},
		{
			"bytes from before an amendment", verify.CheckBytes,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "fail a", "amend 0 other", "run b 0 m sum=other a=2", "ok b"},
			[]string{"new 0 A", "run a 0 m", "fail a", "amend 0 other", "run b 0 m a=2", "ok b"},
		},
		{
			"bytes of an amendment before it", verify.CheckBytes,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "fail a", "amend 0 other", "run b 0 m sum=other a=2", "ok b"},
			[]string{"new 0 A", "run a 0 m sum=other", "fail a", "amend 0 other", "run b 0 m sum=other a=2", "ok b"},
		},
		{
			"an event that was never produced runs", verify.CheckBytes,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "ok a"},
			[]string{"new 0 A", "run a 0 m", "ok a", "run b 7 m", "ok b"},
		},
		{
			"an event that was never produced is stored", verify.CheckBytes,
			verify.Options{},
			[]string{"new 0 A", "is 0 held"},
			[]string{"new 0 A", "is 0 held", "is 7 held"},
		},
		{
			"a commit past a running event", verify.CheckCommits,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "ok a", "commit 1"},
			[]string{"new 0 A", "run a 0 m", "commit 1", "ok a"},
		},
		{
			"a commit past an event that is not parked yet", verify.CheckCommits,
			verify.Options{},
			[]string{"new 0 A", "park 0", "commit 1", "is 0 parked"},
			[]string{"new 0 A", "commit 1", "park 0", "is 0 parked"},
		},
		{
			"a commit goes back", verify.CheckCommits,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "ok a", "commit 1", "commit 1"},
			[]string{"new 0 A", "run a 0 m", "ok a", "commit 1", "commit 0"},
		},
		{
			"more attempts than the budget", verify.CheckAttempts, delays,
			[]string{"new 0 A", "run a 0 m a=3", "ok a"},
			[]string{"new 0 A", "run a 0 m a=4", "ok a"},
		},
		{
			"an attempt is left out", verify.CheckAttempts,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "fail a", "run b 0 m a=2", "ok b"},
			[]string{"new 0 A", "run a 0 m", "fail a", "run b 0 m a=3", "ok b"},
		},
		{
			"a dependency's failure spends an attempt", verify.CheckAttempts,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "away a", "run b 0 m", "ok b"},
			[]string{"new 0 A", "run a 0 m", "away a", "run b 0 m a=2", "ok b"},
		},
		{
			"a cancellation spends an attempt", verify.CheckAttempts,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "cancel a", "run b 0 m", "ok b"},
			[]string{"new 0 A", "run a 0 m", "cancel a", "run b 0 m a=2", "ok b"},
		},
		{
			"a failure spends no attempt", verify.CheckAttempts,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m a=2", "fail a", "crash m", "run b 0 n a=2", "ok b"},
			[]string{"new 0 A", "run a 0 m a=2", "fail a", "run b 0 m a=2", "ok b"},
		},
		{
			"an attempt comes too early", verify.CheckDelays, delays,
			[]string{"new 0 A", "run a 0 m a=2", "fail a", "wait 58s", "run b 0 m a=3", "ok b"},
			[]string{"new 0 A", "run a 0 m a=2", "fail a", "wait 57s", "run b 0 m a=3", "ok b"},
		},
		{
			"an attempt comes too early, though nobody had it tried again at once", verify.CheckDelays, delays,
			[]string{"new 0 A", "run a 0 m a=2", "fail a", "hurry 0", "run b 0 m a=3", "ok b"},
			[]string{"new 0 A", "hurry 0", "run a 0 m a=2", "fail a", "run b 0 m a=3", "ok b"},
		},
		{
			"a position is produced twice", verify.CheckLog,
			verify.Options{},
			[]string{"new 0 A", "is 0 dead"},
			[]string{"new 0 A", "is 0 dead", "new 0 A"},
		},
		{
			"a command is executed twice", verify.CheckCommands,
			verify.Options{},
			[]string{"new 0 A", "is 0 dead", "execute x", "execute y"},
			[]string{"new 0 A", "is 0 dead", "execute x", "execute x"},
		},
		{
			"a pause has no end", verify.CheckPauses,
			verify.Options{},
			[]string{"new 0 A", "is 0 dead", "pause m", "pause n", "resume m", "crash n", "pause k person"},
			[]string{"new 0 A", "is 0 dead", "pause m", "pause n", "resume m", "stop m"},
		},
		{
			"an event succeeds too late", verify.CheckLiveness,
			verify.Options{Recovery: time.Minute},
			[]string{"new 0 A", "wait 1h", "mend", "run a 0 m", "ok a"},
			[]string{"new 0 A", "mend", "wait 1h", "run a 0 m", "ok a"},
		},
		{
			"an event is parked for ever", verify.CheckLiveness,
			verify.Options{Recovery: time.Minute},
			[]string{"new 0 A", "mend", "is 0 held"},
			[]string{"new 0 A", "mend", "is 0 parked"},
		},
		{
			"an event is in two states", verify.CheckLog,
			verify.Options{},
			[]string{"new 0 A", "is 0 dead", "is 0 dead"},
			[]string{"new 0 A", "is 0 dead", "is 0 parked"},
		},
		{
			"a call starts twice", verify.CheckLog,
			verify.Options{},
			[]string{"new 0 A", "run a 0 m", "ok a", "crash m", "run a 0 m", "ok a"},
			[]string{"new 0 A", "run a 0 m", "run a 0 m", "ok a"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := verify.Run(story(t, c.good...), c.opts); len(r.Violations) > 0 {
				t.Errorf("the good run: %v", r.Violations)
			}
			r := verify.Run(story(t, c.bad...), c.opts)
			if !slices.ContainsFunc(r.Violations, func(v verify.Violation) bool { return v.Check == c.check }) {
				t.Errorf("the bad run, without %q: %v", c.check, r.Violations)
			}
		})
	}
}

// TestWhatMayRunAgain has runs after a success that was perhaps not recorded.
func TestWhatMayRunAgain(t *testing.T) {
	for _, between := range []string{"crash m", "freeze m", "cut m"} {
		r := verify.Run(story(t, "new 0 A", "run a 0 m", "ok a", between, "run b 0 n t=2", "ok b"), verify.Options{})
		if len(r.Violations) > 0 || r.Repeats != 1 {
			t.Errorf("%s: %d repeats, %v", between, r.Repeats, r.Violations)
		}
	}
	r := verify.Run(story(t, "new 0 A", "cut m", "reach m", "run a 0 m", "ok a", "run b 0 n t=2", "ok b"), verify.Options{})
	if len(r.Violations) != 1 || r.Violations[0].Check != verify.CheckRepeats {
		t.Errorf("after the cut: %v", r.Violations)
	}
}

func TestAHandlerThatIgnoresItsContextIsCountedApart(t *testing.T) {
	lines := []string{"new 0 A", "run a 0 m", "tell a to stop", "run b 0 n t=2", "fail a", "ok b"}
	if r := verify.Run(story(t, lines...), verify.Options{}); len(r.Violations) > 0 || r.Ignored != 1 {
		t.Errorf("%d beside the successor, %v", r.Ignored, r.Violations)
	}
	for _, other := range [][]string{
		{"new 0 A", "run a 0 m", "run b 0 n t=2", "tell a to stop", "fail a", "ok b"},
		{"new 0 A", "run a 0 m", "tell a to stop", "run b 0 m", "fail a", "ok b"},
	} {
		if r := verify.Run(story(t, other...), verify.Options{}); len(r.Violations) != 1 || r.Violations[0].Check != verify.CheckExclusion {
			t.Errorf("%v: %v", other, r.Violations)
		}
	}
}

func TestAFrozenOwnerIsCountedApart(t *testing.T) {
	r := verify.Run(story(t,
		"new 0 A", "new 1 B", "run a 0 old", "freeze old", "run b 0 new t=2", "ok b", "thaw old", "ok a", "run c 1 old", "ok c",
		"run d 1 new t=2", "ok d",
	), verify.Options{})
	if len(r.Violations) > 0 || r.Frozen != 2 {
		t.Errorf("%d beside the successor, want 2; violations %v", r.Frozen, r.Violations)
	}
	r = verify.Run(story(t, "new 0 A", "run a 0 old t=2", "freeze old", "run b 0 new t=2", "ok b", "thaw old", "ok a"), verify.Options{})
	if len(r.Violations) != 2 || r.Violations[0].Check != verify.CheckExclusion || r.Violations[1].Check != verify.CheckFencing {
		t.Errorf("under the same token nothing tells the two apart: %v", r.Violations)
	}
}

func TestRepeatsAfterACrashAreCounted(t *testing.T) {
	r := verify.Run(story(t, "new 0 A", "run a 0 m", "ok a", "crash m", "run b 0 n", "ok b"), verify.Options{})
	if r.Repeats != 1 || r.Events != 1 || r.Succeeded != 1 || r.Calls != 2 {
		t.Errorf("%+v", r)
	}
}

func TestWithoutOrderEverythingMayOvertake(t *testing.T) {
	r := verify.Run(story(t, "new 0 A", "new 1 A", "run b 1 m", "run a 0 m", "ok a", "ok b"), verify.Options{Ordering: verify.OrderingNone})
	if len(r.Violations) > 0 || r.Unchecked[verify.CheckOrder] == "" {
		t.Errorf("%+v", r)
	}
}

func TestWhatCannotBeCheckedIsSaid(t *testing.T) {
	r := verify.Run(story(t, "new 0 A", "run a 0 m a=0 t=0", "ok a"), verify.Options{})
	for _, c := range []verify.Check{verify.CheckCommits, verify.CheckRecorded, verify.CheckFencing, verify.CheckAttempts, verify.CheckDelays, verify.CheckIsolation} {
		if r.Unchecked[c] == "" {
			t.Errorf("%s counts as checked", c)
		}
	}
}

func TestReadSaysWhatIsWrongAndWhere(t *testing.T) {
	const good = `{"kind":"ended","at":"2026-01-01T00:00:00Z","call":"c","outcome":"failed"}`
	for _, c := range []struct{ line, want string }{
		{`{"kind":"ended","at":"2026-01-01T00:00:00Z","call":"c","outcome":"bad"}`, `line 3: unknown outcome "bad"`},
		{`{"kind":"eaten"}`, `line 3: unknown kind "eaten"`},
		{`{"kind":"ended","call":"c","outcome":"failed"}`, "line 3: ended without a time (at)"},
		{`{"kind":"ended","at":"2026-01-01T00:00:00Z","outcome":"failed"}`, "line 3: ended without a call"},
		{`{"kind":"crashed","at":"2026-01-01T00:00:00Z"}`, "line 3: crashed without a member"},
		{`{"kind":"parked","at":"2026-01-01T00:00:00Z"}`, "line 3: parked without a topic"},
		{`{"kind":"parked","at":"2026-01-01T00:00:00Z","topic":"t","offset":-1}`, "line 3: parked at the negative position t/0@-1"},
		{`{"kind":"stored","at":"2026-01-01T00:00:00Z","topic":"t","state":"gone"}`, `line 3: unknown state "gone"`},
		{`{"kind":"ended","offst":1}`, `line 3: no entry: json: unknown field "offst"`},
		{good + " " + good, "line 3: more than one entry in a line"},
		{"[]", "line 3: no entry: json: cannot unmarshal array into Go value of type verify.Entry"},
		{strings.Repeat(" ", 2<<20), "line 3 is longer than 1048576 bytes"},
	} {
		_, err := verify.Read(strings.NewReader(good + "\n\n" + c.line + "\n"))
		if err == nil || err.Error() != c.want {
			t.Errorf("%.100s: %v, want %s", c.line, err, c.want)
		}
	}
	log, err := verify.Read(strings.NewReader(good + "\n\n" + good))
	if err != nil || len(log) != 2 || log[1].Outcome != verify.OutcomeFailed {
		t.Errorf("%v, %v", log, err)
	}
}

func TestMergeOrdersByTime(t *testing.T) {
	log := story(t, "new 0 A", "new 1 A", "new 2 A", "new 3 A")
	got := verify.Merge([]verify.Entry{log[1], log[3]}, nil, []verify.Entry{log[0], log[2]})
	if !slices.Equal(got, log) {
		t.Errorf("%v", got)
	}
}

func TestPositionsAreWrittenAndRead(t *testing.T) {
	want := verify.Position{Topic: "a.b-c_d", Partition: 3, Offset: 17}
	text, err := want.MarshalText()
	if err != nil || string(text) != "a.b-c_d/3@17" {
		t.Fatalf("%s, %v", text, err)
	}
	var got verify.Position
	if err := got.UnmarshalText(text); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "orders", "orders@3", "orders/3", "a@1/2", "orders/x@3", "orders/3@", "orders/99999999999@0"} {
		if err := got.UnmarshalText([]byte(bad)); err == nil || got != want {
			t.Errorf("%q was read as %v, %v", bad, got, err)
		}
	}
}
