package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// script writes a program and returns its path.
func script(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	return file
}

// fileOf writes a file and returns its path.
func fileOf(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func mkfifo(t *testing.T, file string) {
	t.Helper()
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// amending is a store whose temporary files are the test's own, and a check of a letter's value and version in Postgres.
func amending(t *testing.T) (run func(args ...string) result, ask func(sql string), is func(id, value, version string), temp string) {
	t.Helper()
	temp = t.TempDir()
	t.Setenv("TMPDIR", temp)
	run, ask = acting(t)
	is = func(id, value, version string) {
		t.Helper()
		ask(`do $$ declare d {{schema}}.dead_letters; begin select * into d from {{schema}}.dead_letters where id = ` + id + `;
			if d.value is distinct from convert_to('` + value + `', 'UTF8') or d.version <> ` + version + ` then
				raise 'value %, version %', {{schema}}.as_text(d.value), d.version; end if; end $$`)
	}
	return run, ask, is, temp
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left in the temporary directory (%v)", left, err)
	}
}

func TestAmendInAnEditor(t *testing.T) {
	run, ask, is, temp := amending(t)
	t.Setenv("EDITOR", "false")
	for _, c := range []struct {
		editor, value, version string
		code                   int
		stdout, stderr         string
	}{
		// JSON is shown in lines, and stays in one.
		{
			script(t, `grep -q '^  "n": 5,$' "$1" && sed -i 's/"a": ""/"a": "x"/' "$1"`), `{"n":5,"a":"x"}`, "1", exitDone,
			"--- dead letter 5, version 0\n+++ dead letter 5, version 1\n", "to run it again: layby dls replay 5",
		},
		{script(t, `echo "$1" | grep -q dead-letter-5.json`), `{"n":5,"a":"x"}`, "1", exitConflict, "", "nothing was changed: the event is the same as before"},
		{script(t, `touch "$1"; exit 3`), `{"n":5,"a":"x"}`, "1", exitFailed, "", "ended with exit status 3"},
		{"/nowhere/editor", `{"n":5,"a":"x"}`, "1", exitFailed, "", "ended with exit status 127"},
		{script(t, `[ "$1" = --wait ] && printf '{"n": 6}\n' > "$2"`) + " --wait", `{"n":6}`, "2", exitDone, `-  "n": 5,`, ""},
	} {
		t.Setenv("VISUAL", c.editor)
		run("dls", "amend", "5", "--reason", "r").expect(t, c.code, c.stdout, c.stderr)
		is("5", c.value, c.version)
		empty(t, temp)
	}
	// A text that is no JSON keeps its end.
	ask(`update {{schema}}.dead_letters set value = 'one' where id = 6`)
	t.Setenv("VISUAL", script(t, `echo two > "$1"`))
	run("dls", "amend", "6", "--reason", "r").expect(t, exitDone, "-one\n+two\n", "")
	is("6", "two", "1")
	ask(`update {{schema}}.dead_letters set value = '\xff00' where id = 7`)
	run("dls", "amend", "7", "--reason", "r").expect(t, exitUsage, "", "the value of dead letter 7 is no text: give the new one with --file")
	run("dls", "amend", "7", "--reason", "r", "--file", fileOf(t, "\x00\xfe")).expect(t, exitDone, "-00000000  ff 00", "")
	t.Setenv("VISUAL", "")
	t.Setenv("EDITOR", "")
	run("dls", "amend", "6", "--reason", "r").expect(t, exitUsage, "", "which editor? Set EDITOR, or give the new value with --file")
}

// What a person wrote is not lost when somebody was faster, or when it does not match.
func TestWhatWasWrittenIsKept(t *testing.T) {
	run, _, is, temp := amending(t)
	t.Setenv("VISUAL", script(t, `printf '{"n":' > "$1"`))
	r := run("dls", "amend", "5", "--reason", "r")
	r.expect(t, exitUsage, "", "layby: the value is no JSON any more: unexpected end of JSON input\n(--force amends it all the same")
	r.expect(t, exitUsage, "", "to go on from there: layby dls amend 5 --file "+temp)
	is("5", `{"n":5,"a":""}`, "0")
	_, file, _ := strings.Cut(strings.TrimSuffix(r.stderr, ")\n"), "--file ")
	if text, err := os.ReadFile(file); err != nil || string(text) != `{"n":` {
		t.Errorf("%q, %v", text, err)
	}
}

// Of two people who amend one version, the second one learns it.
func TestAmendOfAnOldVersionIsAConflict(t *testing.T) {
	run, _, is, temp := amending(t)
	other := fileOf(t, `{"n":"other"}`)
	run("dls", "amend", "5", "--expected-version", "0", "--file", other, "--reason", "r").expect(t, exitDone, "amended dead letter 5: version 1\n", "")
	run("dls", "amend", "5", "--expected-version", "0", "--file", fileOf(t, `{}`), "--reason", "r").
		expect(t, exitConflict, "", "layby: dead letter 5 is at version 1, not 0: somebody amended it meanwhile")
	is("5", `{"n":"other"}`, "1")
	empty(t, temp)
}

// While one is in the editor, another one amends.
func TestAmendMeanwhileIsAConflict(t *testing.T) {
	run, ask, is, _ := amending(t)
	begun, goOn := filepath.Join(t.TempDir(), "begun"), filepath.Join(t.TempDir(), "go")
	for _, fifo := range []string{begun, goOn} {
		mkfifo(t, fifo)
	}
	t.Setenv("VISUAL", script(t, `echo x > `+begun+`; read x < `+goOn+`; echo '{"n":"mine"}' > "$1"`))
	results := make(chan result)
	go func() { results <- run("dls", "amend", "5", "--reason", "r") }()
	if _, err := os.ReadFile(begun); err != nil { //nolint:gosec // the test's own
		t.Error(err)
	}
	ask(`select {{schema}}.amend(5, '{"n":"theirs"}'::text, 'r')`)
	if err := os.WriteFile(goOn, []byte("x\n"), 0o600); err != nil {
		t.Error(err)
	}
	r := <-results
	r.expect(t, exitConflict, "", "dead letter 5 is at version 1, not 0: somebody amended it meanwhile\n(what you wrote is kept in ")
	is("5", `{"n":"theirs"}`, "1")
}

func TestAmendHeadersAndReplay(t *testing.T) {
	run, ask, is, _ := amending(t)
	ask(`select {{schema}}.amend_headers(5, '[{"key":"a","value":"1"},{"key":"tenant","value":"t1"},{"key":"a","value":"2"},{"key":"b","value":null}]', 'r')`)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--header a", exitUsage, `--header: "a" is no header with its value`},
		{"--remove-header none", exitUsage, "dead letter 5 has no header none"},
		{"--header a=1 --remove-header a", exitUsage, "--header and --remove-header both name a"},
		{"--header tenant=t1", exitConflict, "nothing was changed"},
		{"--wait --header a=1", exitUsage, "--wait goes with --replay"},
	} {
		run(append([]string{"dls", "amend", "5", "--reason", "r"}, strings.Fields(c.args)...)...).expect(t, c.code, "", c.want)
	}
	args := []string{"dls", "amend", "5", "--header", "a=x", "--header", "a=y", "--header", "c=", "--remove-header", "tenant"}
	run(args...).expect(t, exitUsage, "", "why? Write --reason")
	run(append(args, "--dry-run")...).expect(t, exitDone, "-header a: 1\n-header tenant: t1\n-header a: 2\n+header a: x\n+header a: y\n header b: (null)\n+header c: (empty)\n", "")
	is("5", `{"n":5,"a":""}`, "1")
	run(append(args, "--replay", "--reason", "r")...).expect(t, exitDone, "amended dead letter 5, version 2; its replay is asked for: operation 1\n", "nobody has it")
	ask(`do $$ begin if (select headers from {{schema}}.dead_letters where id = 5)
		<> '[{"key":"a","value":"x"},{"key":"a","value":"y"},{"key":"b","value":null},{"key":"c","value":""}]' then raise 'headers'; end if; end $$`)
	ask(execute)
	run("dls", "amend", "5", "--header", "a=z", "--reason", "r").expect(t, exitConflict, "", "dead letter 5 is replaying: only one that is dead or awaiting correction can be amended")
	run("dls", "amend", "2", "--header", "a=z", "--reason", "r").expect(t, exitConflict, "", "dead letter 2 is healed")
	run("dls", "amend", "999", "--header", "a=z", "--reason", "r").expect(t, exitNotFound, "", "dead letter 999")
	ask(`update {{schema}}.dead_letters set has_bytes = false where id = 6`)
	run("dls", "amend", "6", "--header", "a=z", "--reason", "r").expect(t, exitConflict, "", "dead letter 6 cannot be amended: its bytes could be read from nowhere")
	run("dls", "amend", "8", "--file", "/nowhere", "--reason", "r").expect(t, exitNotFound, "", "/nowhere")
	run("dls", "amend", "8", "--file", "-", "--force", "--reason", "r", "-o", "json").expect(t, exitDone, `"version": 1`, "") // standard input is empty
	is("8", "", "1")
}

func TestAmendChecksTheSchemaOfTheType(t *testing.T) {
	opts, ask := storeWith(t)
	schema := fileOf(t, `{"required":["card"],"properties":{"card":{"pattern":"^c-"}}}`)
	run := func(args ...string) result {
		return try(t, strings.Replace(valid, "    routes:", "    schemas: {order.paid: "+schema+"}\n    routes:", 1), opts, append([]string{"dls", "amend", "5", "--reason", "r"}, args...)...)
	}
	wrong := fileOf(t, "{\"card\":\"\u202ex\"}")
	r := run("--file", wrong)
	r.expect(t, exitUsage, "", "layby: the value is not what "+schema+" asks for:\n")
	r.expect(t, exitUsage, "", "does not match pattern")
	if strings.Contains(r.stderr, "\u202e") {
		t.Errorf("%q turns the writing", r.stderr)
	}
	run("--file", fileOf(t, "{")).expect(t, exitUsage, "", "it is no JSON")
	run("--header", "a=b").expect(t, exitDone, "version 1", "") // the value stays
	run("--file", wrong, "--force", "-o", "json").expect(t, exitDone, `"forced": true`, "")
	run("--file", fileOf(t, `{"card":"c-1"}`), "--force", "-o", "json").expect(t, exitDone, `"forced": false`, "")
	ask(`do $$ begin if (select array_agg(details order by id)::text from {{schema}}.audit_log where action = 'amend') <> array[
		'{"value": false, "headers": true, "version": 1}', jsonb_build_object('value', true, 'forced', true, 'schema', '` + schema + `', 'headers', false, 'version', 2),
		'{"value": true, "headers": false, "version": 3}']::jsonb[]::text then raise 'audit %', (select array_agg(details) from {{schema}}.audit_log); end if; end $$`)
	try(t, strings.Replace(valid, "    routes:", "    schemas: {order.paid: /nowhere}\n    routes:", 1), opts, "dls", "list").
		expect(t, exitUsage, "", "consumers[0].schemas.order.paid: /nowhere can't be read")
}

// Ctrl-C in the editor changes nothing, and leaves nothing.
func TestAmendIsStopped(t *testing.T) {
	opts, ask := storeWith(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	begun := filepath.Join(t.TempDir(), "begun")
	mkfifo(t, begun)
	t.Setenv("VISUAL", script(t, `echo '{}' > "$1"; trap 'exit 0' INT; echo x > `+begun+`; while :; do sleep 0.05; done`))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	results := make(chan result)
	go func() { results <- tryIn(ctx, t, valid, opts, "dls", "amend", "5", "--reason", "r") }()
	if _, err := os.ReadFile(begun); err != nil {
		t.Error(err)
	}
	stop()
	r := <-results
	r.expect(t, exitFailed, "", "nothing was changed: context canceled")
	empty(t, temp)
	ask("do $$ begin if exists (select from {{schema}}.audit_log) then raise 'changed'; end if; end $$")
}
