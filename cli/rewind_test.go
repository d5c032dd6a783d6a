package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kfake"
)

// newConsumer is a consumer that has read nothing yet: a topic of 3 partitions, and a schema.
func newConsumer(t *testing.T) (layby func(args string) result, pool *pgxpool.Pool, schema string) {
	t.Helper()
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	brokers := fakeBrokers(t, kfake.SeedTopics(3, "order-events", "orders.retry.1m"), kfake.ClusterID("here"))
	opts[0] = append(opts[0].(environment), "LAYBY__KAFKA__BROKERS="+strings.Join(brokers.ListenAddrs(), ",")) //nolint:errcheck // database made it
	file := valid + "    retry: {tiers: [1m]}\n"
	try(t, file, opts, "migrate", "up").expect(t, exitDone, "applied", "")
	return func(args string) result { return try(t, file, opts, strings.Fields(args)...) }, pool, schema
}

func TestRewindSaysWhatIsWrong(t *testing.T) {
	layby, pool, schema := newConsumer(t)
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"--to earliest":                {exitNotFound, "consumer orders has read nothing yet"},
		"--to earliest --partition 7":  {exitNotFound, "consumer orders has read nothing yet"},
		"--to earliest --topic others": {exitNotFound, "consumer orders has no source topic others, only order-events"},
		"--to earliest --group others": {exitNotFound, "the configuration has no consumer of the group others, only orders"},
	} {
		layby("rewind "+args).expect(t, want.code, "", want.text)
	}
	for partition := range 3 {
		_, err := pool.Exec(t.Context(), fmt.Sprintf("insert into %s.partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', $1, 'here', gen_random_uuid(), 3)", schema), partition)
		if err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"--to earliest --partition 7": {exitNotFound, "consumer orders has no partition 7"},
		"--to 5":                      {exitUsage, "the offset 5 is one of a single partition: name it with --partition"},
		"--to yesterday":              {exitUsage, `--to "yesterday" is neither earliest, latest, an offset, nor a time like 2026-03-01T06:00:00Z`},
	} {
		layby("rewind "+args).expect(t, want.code, "", want.text)
	}
	layby("rewind --to earliest").expect(t, exitDone, "never read", "")
}

func TestTopicsGrow(t *testing.T) {
	layby, _, _ := newConsumer(t)
	layby("topics grow --partitions 2").expect(t, exitUsage, "", "a topic of orders has 3 partitions already, and Kafka takes none away: --partitions 2 is too low")
	layby("topics grow --partitions 3 --yes").expect(t, exitDone, "has them", "")
	layby("topics grow --partitions 5").expect(t, exitDone, "would grow", "nothing was changed; repeat the command with --yes to do it")
	layby("topics apply").expect(t, exitDone, "orders.retry.1m", "")
	layby("topics grow --partitions 5 --yes").expect(t, exitDone, "grew", "")
	layby("topics plan").expect(t, exitDone, "orders    orders.retry.1m  ok      5", "")
	layby("topics grow --partitions 5 --yes").expect(t, exitDone, "has them", "")
}
