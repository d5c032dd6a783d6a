package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestErase(t *testing.T) {
	dls, ask := store(t)
	dls("erase").expect(t, exitUsage, "", "which resource? Write --resource")
	dls("erase", "--resource", "o-2").expect(t, exitUsage, "", "why? Write --reason")
	dls("erase", "--resource", "o-2", "--consumer", "", "--reason", "r").expect(t, exitUsage, "", "--consumer is empty")
	dls("erase", "--resource", "o-5", "--dry-run").expect(t, exitConflict, "", "resource o-5 is not erased: 1 of its dead letters can still run (5): discard them first")
	dls("erase", "--resource", "nobody", "--dry-run").expect(t, exitNotFound, "", "there is no dead letter of resource nobody")
	dls("erase", "--resource", "o-2", "--consumer", "bills", "--dry-run").expect(t, exitNotFound, "", "in consumer bills")
	dls("erase", "--resource", "o-2", "--dry-run").expect(t, exitDone, "would erase 1 dead letter of resource o-2: 0 versions, 0 attempts; in orders\n", "")
	// Nobody is at a terminal.
	dls("erase", "--resource", "o-2", "--reason", "r").expect(t, exitUsage, "", "erase 1 dead letter of resource o-2? This can't be taken back. Say so with --yes")
	dls("get", "2").expect(t, exitDone, "value ", "")
	dls("erase", "--resource", "o-2", "--reason", "r", "--yes").expect(t, exitDone, "erased 1 dead letter of resource o-2", "goes with its retention")
	dls("get", "2").expect(t, exitDone, "bytes         erased at 20", "")
	dls("get", "2", "-o", "json").expect(t, exitDone, `"erased_at": "20`, "")
	var v map[string]any
	if r := dls("erase", "--resource", "o-2", "--reason", "r", "--yes", "-o", "json"); json.Unmarshal([]byte(r.stdout), &v) != nil || v["letters"] != 0.0 || v["erased_before"] != 1.0 {
		t.Errorf("%+v", r)
	}
	ask("do $$ begin if (select count(*) from {{schema}}.audit_log where action = 'erase' and reason = 'r' and actor is not null) <> 2 then raise 'not audited'; end if; end $$")
}

func TestExportAndImport(t *testing.T) {
	from, _ := store(t)
	to, ask := store(t)
	ask("delete from {{schema}}.dead_letters")
	out := from("export", "--fingerprint", "f1", "--state", "dead")
	lines := strings.Split(strings.TrimSuffix(out.stdout, "\n"), "\n")
	if out.code != exitDone || out.stderr != "" || len(lines) != 7 || strings.Contains(out.stdout, "\u202e") {
		t.Fatalf("%d lines: %+v", len(lines), out)
	}
	from("export", "--state", "undead").expect(t, exitUsage, "", "--state")
	file := filepath.Join(t.TempDir(), "letters.jsonl")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(out.stdout)
	to("import", file).expect(t, exitUsage, "", "why? Write --reason")
	to("import", file+".gone", "--dry-run").expect(t, exitNotFound, "", "no such file")
	to("import", file, "--from-line", "0", "--dry-run").expect(t, exitUsage, "", "counted from 1")
	to("import", file, "--reason", "r").expect(t, exitConflict, "", "line 1: consumer orders has no partition 0 here")
	ask("insert into {{schema}}.partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 0, 'k', gen_random_uuid(), 1)")
	to("import", file, "--dry-run").expect(t, exitDone, "7 of 7 letters would come in; 0 were here already\n", "")
	write(strings.Join(append(lines[:3:3], "{"), "\n"))
	to("import", file, "--dry-run").expect(t, exitFailed, "", "line 4: it is cut off: the object does not end\n(nothing was changed)")
	to("import", file, "--reason", "r").expect(t, exitFailed, "", "(nothing came in)")
	write(out.stdout)
	to("import", file, "--reason", "r", "--from-line", "6").expect(t, exitDone, "2 of 2 letters came in; 0 were here already\n", "")
	to("import", file, "--reason", "r", "-o", "json").expect(t, exitDone, `"letters": 5,`, "")
	to("import", file, "--reason", "r").expect(t, exitDone, "0 of 7 letters came in; 7 were here already\n", "")
	to("list", "--count").expect(t, exitDone, "7\n", "")
	to("import", "-", "--reason", "r").expect(t, exitDone, "0 of 0 letters came in", "")
}
