package migrations

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/layby-go/layby/integration/stack"
)

func TestUpCanBeRepeated(t *testing.T) {
	pool, schema := newSchema(t)
	first, err := Up(t.Context(), pool, schema)
	if err != nil {
		t.Fatal(err)
	}
	known, err := rendered{schema}.migrations()
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Applied) != len(known) || first.RolesSQL != "" {
		t.Errorf("applied %+v of %d, roles %q", first.Applied, len(known), first.RolesSQL)
	}
	again, err := Up(t.Context(), pool, schema)
	if err != nil || len(again.Applied) != 0 {
		t.Errorf("the second time: %+v, %v", again, err)
	}
}

func TestTwoThatStartAtOnce(t *testing.T) {
	pool, schema := newSchema(t)
	var wait sync.WaitGroup
	applied := make([]int, 4)
	for i := range applied {
		wait.Go(func() {
			res, err := Up(t.Context(), pool, schema)
			if err != nil {
				t.Error(err)
				return
			}
			applied[i] = len(res.Applied)
		})
	}
	wait.Wait()
	sum := 0
	for _, n := range applied {
		sum += n
	}
	if known, _ := (rendered{schema}).migrations(); sum != len(known) {
		t.Errorf("applied %v of %d", applied, len(known))
	}
}

func TestSchemasLiveSideBySide(t *testing.T) {
	pool, one := migrated(t)
	two := stack.Name(t, "other")
	t.Cleanup(func() {
		run(t, pool, "drop owned by "+strings.Join(Roles(two), ", ")+"; drop role "+strings.Join(Roles(two), ", "))
	})
	if _, err := Up(t.Context(), pool, two); err != nil {
		t.Fatal(err)
	}
	run(t, pool, fmt.Sprintf("insert into %s.partitions (consumer, partition, cluster_id, owner, partition_count) values ('c', 0, 'k', gen_random_uuid(), 1)", one))
	var n int
	if err := pool.QueryRow(t.Context(), "select count(*) from "+two+".partitions").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows in the other schema, %v", n, err)
	}
}

func TestDownTakesEverythingBackStepByStep(t *testing.T) {
	pool, schema := migrated(t)
	status, err := Status(t.Context(), pool, schema)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(status) - 1; i >= 0; i-- {
		if !status[i].Applied || status[i].AppliedAt.IsZero() {
			t.Errorf("%+v is not applied", status[i])
		}
		m, err := Down(t.Context(), pool, schema)
		if err != nil || m == nil || m.Version != status[i].Version {
			t.Fatalf("down to %d: %+v, %v", status[i].Version, m, err)
		}
	}
	if m, err := Down(t.Context(), pool, schema); m != nil || err != nil {
		t.Errorf("below the first: %+v, %v", m, err)
	}
	rows, err := pool.Query(t.Context(), `select relname from pg_class where relnamespace = $1::regnamespace and relkind = 'r'
		union all select proname from pg_proc where pronamespace = $1::regnamespace`, schema)
	if err != nil {
		t.Fatal(err)
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(left) != 1 || left[0] != versionTable {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if res, err := Up(t.Context(), pool, schema); err != nil || len(res.Applied) != len(status) {
		t.Errorf("up again: %+v, %v", res, err)
	}
}

func TestCheck(t *testing.T) {
	pool, schema := newSchema(t)
	err := Check(t.Context(), pool, schema)
	if !errors.Is(err, ErrOldSchema) || !strings.Contains(err.Error(), "run: layby migrate up") {
		t.Errorf("without a schema: %v", err)
	}
	if _, err := Up(t.Context(), pool, schema); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), pool, schema); err != nil {
		t.Errorf("right after: %v", err)
	}
	run(t, pool, "insert into "+schema+"."+versionTable+" (version_id, is_applied) values (99, true)")
	if err := Check(t.Context(), pool, schema); err != nil {
		t.Errorf("newer than the binary, which may still use it: %v", err)
	}
	understood := func(from int) string {
		return fmt.Sprintf("create or replace function %s.understood_from() returns integer language sql immutable as $$ select %d $$", schema, from)
	}
	run(t, pool, understood(99))
	if err := Check(t.Context(), pool, schema); !errors.Is(err, ErrNewSchema) || !strings.Contains(err.Error(), "understood by programs that know them up to 99") {
		t.Errorf("newer than the binary, which may not use it any more: %v", err)
	}
	run(t, pool, understood(6))
	run(t, pool, "delete from "+schema+"."+versionTable+" where version_id = 99")
	if _, err := Down(t.Context(), pool, schema); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), pool, schema); !errors.Is(err, ErrOldSchema) {
		t.Errorf("one step down: %v", err)
	}
	if s, err := Status(t.Context(), pool, schema); err != nil || s[len(s)-1].Applied || !s[0].Applied {
		t.Errorf("status one step down: %+v, %v", s, err)
	}
}

func TestUnusableNames(t *testing.T) {
	for _, name := range []string{"", "Layby", "a-b", "1a", "a.b", `a"; drop table x; --`, "pg_x", "public", "information_schema", strings.Repeat("a", 41)} {
		if ValidateSchema(name) == nil {
			t.Errorf("%q passes", name)
		}
	}
	pool, _ := newSchema(t)
	if _, err := Up(t.Context(), pool, "order"); err == nil || !strings.Contains(err.Error(), "reserved word") {
		t.Errorf("a reserved word: %v", err)
	}
	for _, name := range []string{"layby", "_x9", strings.Repeat("a", 40)} {
		if err := ValidateSchema(name); err != nil {
			t.Error(err)
		}
	}
}

func TestAnEncodingThatCannotHoldTextIsRefused(t *testing.T) {
	pg := stack.SharedPostgres(t)
	name := stack.Name(t, "latin")
	pg.Exec(t, "create database "+name+" encoding 'LATIN1' locale 'C' template template0")
	t.Cleanup(func() { run(t, connect(t, pg.URL()), "drop database "+name+" with (force)") })
	u, err := url.Parse(pg.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	pool := connect(t, u.String())
	if _, err := Up(t.Context(), pool, "layby"); err == nil || !strings.Contains(err.Error(), "UTF8") {
		t.Errorf("got %v", err)
	}
}
