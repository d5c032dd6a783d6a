package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/ordering"
)

// database gives a test a database of its own, as options for commands.
func database(t *testing.T) (opts []Option, pool *pgxpool.Pool, schema string) {
	t.Helper()
	url, schema := stack.SharedPostgres(t).NewDatabase(t), stack.Name(t, "layby")
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return []Option{environment{"LAYBY__POSTGRES__URL=" + url, "LAYBY__POSTGRES__SCHEMA=" + schema}}, pool, schema
}

// dropRoles removes what a migrated schema leaves in the cluster.
func dropRoles(t *testing.T, pool *pgxpool.Pool, schema string) {
	t.Helper()
	t.Cleanup(func() {
		for _, role := range migrations.Roles(schema) {
			if _, err := pool.Exec(context.Background(), "drop owned by "+role+"; drop role "+role); err != nil {
				t.Errorf("drop role %s: %v", role, err)
			}
		}
	})
}

func TestMigrate(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	migrate := func(args ...string) result { return try(t, valid, opts, append([]string{"migrate"}, args...)...) }

	migrate("status").expect(t, exitDone, "1        00001_parking.sql", "")
	migrate("status").expect(t, exitDone, "missing", "")
	migrate("down", "--yes").expect(t, exitDone, "schema "+schema+" has no migration to take back\n", "")
	migrate("up").expect(t, exitDone, "applied 00001_parking.sql\n", "")
	if r := migrate("up"); r.code != exitDone || r.stdout != "schema "+schema+" is up to date\n" {
		t.Errorf("the second time: %+v", r)
	}
	var list []migrations.Migration
	if err := json.Unmarshal([]byte(migrate("status", "-o", "json").stdout), &list); err != nil || len(list) < 3 || !list[0].Applied {
		t.Errorf("%+v, %v", list, err)
	}
	latest := list[len(list)-1].Name
	migrate("down").expect(t, exitUsage, "", "layby: this takes back migration "+latest+" of schema "+schema+", and its tables with all data")
	migrate("down", "--yes").expect(t, exitDone, "took back "+latest+"\n", "")
	migrate("status").expect(t, exitDone, "missing", "")
}

func TestAnOldSchemaNamesTheCommandToType(t *testing.T) {
	opts, _, schema := database(t)
	opts[0] = append(opts[0].(environment), "LAYBY__HTTP__LISTEN=127.0.0.1:0") //nolint:errcheck // database made it
	for _, command := range []string{"run", "dls list"} {
		try(t, valid, opts, strings.Fields(command)...).
			expect(t, exitFailed, "", "schema "+schema+" lacks migration 00001_parking.sql (the schema is not up to date): run: layby migrate up -c layby.yaml\n")
	}
}

func TestDeadLetters(t *testing.T) {
	opts, pool, schema := database(t)
	dropRoles(t, pool, schema)
	if _, err := migrations.Up(t.Context(), pool, schema); err != nil {
		t.Fatal(err)
	}
	store, err := dls.New(pool, schema)
	if err != nil {
		t.Fatal(err)
	}
	var letters []ordering.Letter
	for i, resource := range []string{"o-1", "o-2\x1b[31m\xff"} {
		letters = append(letters, ordering.Letter{
			Row: ordering.Row{
				Seq: int64(i + 1), Resource: resource, Topic: "order-events", Type: "order.picked", Attempt: 4,
				Position: ordering.Position{Offset: int64(17 + i)},
			},
			Event: &layby.Event{
				Topic: "order-events", Partition: 3, Offset: 17, Key: []byte(resource), Value: []byte(`{"sku":1}`),
				Headers:   []layby.Header{{Key: "a", Value: nil}, {Key: "a", Value: []byte{}}, {Key: "b", Value: []byte{0xff}}},
				Timestamp: time.UnixMilli(1_000),
			},
			Failure: &ordering.Failure{
				Class: "UnknownProduct", Text: "no product 1", Chain: []string{"pick: no product 1", "no product 1"},
				Details: []byte(`{"sku":1}`), Stack: "goroutine 1\n\tmain.go:1",
			},
			Policy:   ordering.Hold,
			Attempts: []ordering.AttemptRecord{{Attempt: 4, Started: time.UnixMilli(2_000), Took: time.Second, Tier: "1h", Failure: &ordering.Failure{Class: "UnknownProduct", Text: "no product 1"}}},
		})
	}
	sql, args := store.Letters("orders", 3, "host/1", letters)
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) result { return try(t, valid, opts, append([]string{"dls"}, args...)...) }

	var page struct {
		Letters []struct {
			ID       int64
			Resource any
			State    string
		}
		Next string
	}
	r := run("list", "-o", "json", "--limit", "1")
	if err := json.Unmarshal([]byte(r.stdout), &page); err != nil || len(page.Letters) != 1 || page.Next == "" {
		t.Fatalf("%v: %+v", err, r)
	}
	run("list", "--limit", "1").expect(t, exitDone, "ID ", "there are more: --after "+page.Next)
	run("list", "--limit", "1", "--after", page.Next).expect(t, exitDone, "UnknownProduct", "")
	run("list", "--resource", "o-1", "--state", "dead", "--type", "order.picked", "--class", "UnknownProduct", "--consumer", "orders").
		expect(t, exitDone, "o-1", "")
	if r := run("list", "--resource", ""); r.code != exitDone || strings.Contains(r.stdout, "o-1") {
		t.Errorf("letters of the empty resource: %+v", r)
	}
	if r := run("list"); strings.Contains(r.stdout, "\x1b") || strings.Contains(r.stdout, "\xff") || !strings.Contains(r.stdout, `"o-2\x1b[31m\xff"`) {
		t.Errorf("bytes that harm a terminal are shown: %q", r.stdout)
	}

	ids := map[bool]int64{}
	if err := json.Unmarshal([]byte(run("list", "-o", "json").stdout), &page); err != nil {
		t.Fatal(err)
	}
	for _, l := range page.Letters {
		_, text := l.Resource.(string)
		ids[text] = l.ID
	}
	r = run("get", fmt.Sprint(ids[true]))
	for _, want := range []string{
		"resource      o-1\n", "source        order-events/3@17\n", "header        a: (null)\n", "header        a: (empty)\n",
		`value         {"sku":1}` + "\n", "4        1970-01-01T00:00:02Z  1s    1h    UnknownProduct", "      main.go:1\n",
	} {
		r.expect(t, exitDone, want, "")
	}
	r = run("get", fmt.Sprint(ids[false]), "-o", "json")
	var got map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if want := `[{"key":"a","value":null},{"key":"a","value":""},{"key":"b","value":{"base64":"/w=="}}]`; jsonOf(t, got["headers"]) != want {
		t.Errorf("headers %s", jsonOf(t, got["headers"]))
	}
	if jsonOf(t, got["error_details"]) != `{"sku":1}` || jsonOf(t, got["timestamp"]) != `"1970-01-01T00:00:01Z"` || got["value"] != `{"sku":1}` {
		t.Errorf("%s", r.stdout)
	}
	run("get", "999999999").expect(t, exitNotFound, "", "layby: dead letter 999999999: there is no such dead letter")
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
