package docs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/layby-go/layby/cli"
	"github.com/layby-go/layby/handlers/webhook"
	"github.com/layby-go/layby/integration/stack"
	"github.com/layby-go/layby/migrations"
	"github.com/layby-go/layby/telemetry"
)

// common checks what any page may name: other pages, statements and commands within a sentence, metrics, pictures.
func common(t *testing.T, p *page) {
	links(t, p)
	commands(t, p)
	metrics(t, p)
	pictures(t, p)
	if statements := inline(p, `(?:select|update|delete|insert) [^`+"`]*"); len(statements) > 0 {
		execute(t, migrated(t), p, statements...)
	}
}

// inline finds the code within sentences that begins with a pattern.
func inline(p *page, pattern string) []string {
	var found []string
	for _, m := range regexp.MustCompile("`("+pattern+")`").FindAllStringSubmatch(prose(p), -1) {
		found = append(found, m[1])
	}
	return found
}

// prose is the page without its blocks.
func prose(p *page) string {
	return regexp.MustCompile("(?ms)^ *```.*?^ *```$").ReplaceAllString(p.text, "")
}

// links looks for the files and headings that a page's links lead to.
func links(t *testing.T, p *page) {
	for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(prose(p), -1) {
		file, heading, _ := strings.Cut(m[1], "#")
		if strings.Contains(file, "://") {
			continue
		}
		to := filepath.Join(root, filepath.Dir(p.name), file)
		if file == "" {
			to = filepath.Join(root, p.name)
		}
		text, err := os.ReadFile(to)
		if err != nil && !isDir(to) {
			t.Errorf("%s: the link %s leads nowhere: %v", p.name, m[1], err)
		}
		if heading != "" && !slices.Contains(headings(string(text)), heading) {
			t.Errorf("%s: the link %s leads to no heading", p.name, m[1])
		}
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// headings are the anchors of a page's headings, as GitHub makes them.
func headings(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		anchor := regexp.MustCompile(`[^\p{L}\p{N}_ -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(anchor, " ", "-"))
	}
	return all
}

// commands looks whether the commands that a page names in its sentences exist, with their flags.
func commands(t *testing.T, p *page) {
	for _, command := range inline(p, `(?:bin/)?layby [a-z][^`+"`]*") {
		words := strings.Fields(command)[1:]
		var path, flags []string
		for _, w := range words {
			switch name, _, _ := strings.Cut(w, "="); {
			case strings.HasPrefix(w, "-"):
				flags = append(flags, name)
			case len(flags) == 0 && regexp.MustCompile(`^[a-z]+$`).MatchString(w):
				path = append(path, w)
			}
		}
		var out, problem strings.Builder
		code := cli.Run(t.Context(), append(path, "--help"), strings.NewReader(""), &out, &problem)
		// cobra shows the help of the command above one that does not exist
		if code != 0 || !usage(out.String(), path) {
			t.Errorf("%s: there is no command %s", p.name, command)
		}
		for _, f := range flags {
			if !regexp.MustCompile(`(?m)(^| )` + f + `\b`).MatchString(out.String()) {
				t.Errorf("%s: %s: there is no flag %s", p.name, command, f)
			}
		}
	}
}

// usage says whether a help is that of a command, or of one that takes the last word as its argument.
func usage(help string, path []string) bool {
	return strings.Contains(help, "layby "+strings.Join(path, " ")+" ") ||
		strings.Contains(help, "layby "+strings.Join(path[:len(path)-1], " ")+" GROUP")
}

// metrics looks whether the metrics that a page names exist.
func metrics(t *testing.T, p *page) {
	known := migrations.Roles("layby")
	for _, m := range described() {
		known = append(known, m.name, m.name+"_bucket", m.name+"_count", m.name+"_sum")
	}
	for _, name := range regexp.MustCompile(`\blayby_[a-z_]+\b`).FindAllString(p.text, -1) {
		if !slices.Contains(known, name) {
			t.Errorf("%s: there is no metric, and no role, %s", p.name, name)
		}
	}
}

// registry has all metrics of a process.
func registry() *prometheus.Registry {
	r := telemetry.New(telemetry.Build{}).Registry()
	r.MustRegister(webhook.NewBreakers("", webhook.BreakerConfig{}))
	return r
}

// migrated is a database with Layby's schema, and a partition of the consumer orders for commands to be about.
func migrated(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), stack.SharedPostgres(t).NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := migrations.Up(t.Context(), pool, "layby"); err != nil {
		t.Fatal(err)
	}
	_, err = pool.Exec(t.Context(), "insert into layby.partitions (consumer, partition, cluster_id, owner, partition_count) values ('orders', 0, 'k', gen_random_uuid(), 1)")
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// execute runs statements that a page shows.
func execute(t *testing.T, pool *pgxpool.Pool, p *page, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := pool.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
			t.Errorf("%s: %s: %v", p.name, strings.TrimSpace(sql), err)
		}
	}
}

// split makes statements of a block in SQL.
func split(b *block) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimSpace(b.text), ";"), ";")
}

// valid checks a configuration that a page shows, with handlers of the given names.
func valid(t *testing.T, text string, handlers cli.Handlers) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layby.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, problem strings.Builder
	if code := cli.Run(t.Context(), []string{"config", "validate", "-c", path}, strings.NewReader(""), &out, &problem, handlers); code != 0 {
		t.Error(fmt.Sprint(text, problem.String()))
	}
	if strings.Contains(problem.String(), "warning") {
		t.Errorf("a configuration that a page shows is warned of:\n%s%s", text, problem.String())
	}
}
