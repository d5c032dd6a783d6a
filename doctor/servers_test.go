package doctor

import (
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/layby-go/layby/integration/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// TestRightsOnAGroupThatIsNotThere asks a real Kafka, which does not say what may be done with such a group: a heartbeat finds out.
func TestRightsOnAGroupThatIsNotThere(t *testing.T) {
	client := stack.SharedKafka(t).Client(t)
	may, err := group(t.Context(), client, stack.Name(t, "group"))
	if err != nil || !may[kmsg.ACLOperationRead] || !may[kmsg.ACLOperationDescribe] {
		t.Errorf("%v, %v", may, err)
	}
}

// TestRightsOnATopicThatIsNotThere asks a real Kafka, which does say what may be done with it.
func TestRightsOnATopicThatIsNotThere(t *testing.T) {
	name := stack.Name(t, "topic")
	seen, err := look(t.Context(), stack.SharedKafka(t).Client(t), []string{name})
	if err != nil || !seen[name].missing() || !seen[name].may[kmsg.ACLOperationWrite] {
		t.Errorf("%+v, %v", seen[name], err)
	}
}

// TestConnectionsAreThoseOfClients counts for a superuser, and for a user to whom Postgres hides what the others are.
func TestConnectionsAreThoseOfClients(t *testing.T) {
	server := stack.NewPostgres(t)
	user := stack.Name(t, "plain")
	server.Exec(t, "create role "+user+" login")
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	connect := func() *pgx.Conn {
		c, err := pgx.Connect(t.Context(), u.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(t.Context()) })
		return c
	}
	count := func(c *pgx.Conn) (n, all int) {
		t.Helper()
		if err := c.QueryRow(t.Context(), "select "+clientsSQL+", (select count(*) from pg_stat_activity)::int").Scan(&n, &all); err != nil {
			t.Fatal(err)
		}
		return n, all
	}
	first := connect()
	before, _ := count(first)
	connect()
	u.User = url.User(user)
	plain := connect()
	now, all := count(first)
	if hidden, _ := count(plain); now != before+2 || hidden != now || all <= now {
		t.Errorf("%d connections, then %d, of which a plain user sees %d; %d processes", before, now, hidden, all)
	}
}
