package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
)

// alerts checks the page's rules: metrics that exist, by labels that they have, each alert explained.
func alerts(t *testing.T, p *page, b *block) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct{ Alert, For, Expr string }
		}
	}
	if err := yaml.UnmarshalWithOptions([]byte(b.text), &file, yaml.Strict()); err != nil || len(file.Groups) != 1 || len(file.Groups[0].Rules) < 5 {
		t.Fatalf("%+v, %v", file, err)
	}
	known := map[string][]string{}
	for _, d := range described() {
		known[d.name] = d.labels
	}
	form := regexp.MustCompile(`^(?:max|sum)(?: by \(([a-z, ]+)\) )?\((?:increase\()?(layby_[a-z_]+)(?:\{([a-z]+)="[a-z]+"\})?(?:\[\d+m\]\))?\) (?:>|==) \d+$`)
	for _, r := range file.Groups[0].Rules {
		m := form.FindStringSubmatch(r.Expr)
		if m == nil {
			t.Errorf("%s: %s", r.Alert, r.Expr)
			continue
		}
		for _, label := range append(strings.Split(m[1], ", "), m[3]) {
			if label != "" && !slices.Contains(known[m[2]], label) {
				t.Errorf("%s: %s has the labels %v", r.Alert, m[2], known[m[2]])
			}
		}
		if known[m[2]] == nil && m[1] != "" {
			t.Errorf("%s: there is no metric %s", r.Alert, m[2])
		}
		if counts := strings.HasSuffix(m[2], "_total"); counts != strings.Contains(r.Expr, "increase(") {
			t.Errorf("%s: %s", r.Alert, r.Expr)
		}
		if !strings.Contains(prose(p), "`"+r.Alert+"`") {
			t.Errorf("the page does not say what to do about %s", r.Alert)
		}
	}
}

// metric is the name and the labels of one.
type metric struct {
	name   string
	labels []string
}

// described are the metrics of a process.
func described() []metric {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		registry().Describe(descs)
	}()
	form := regexp.MustCompile(`fqName: "([^"]*)".*constLabels: \{(.*?)\}, variableLabels: \{(.*?)\}`)
	var all []metric
	for d := range descs {
		m := form.FindStringSubmatch(d.String())
		labels := strings.Split(m[3], ",")
		for pair := range strings.SplitSeq(m[2], ",") {
			name, _, _ := strings.Cut(pair, "=")
			labels = append(labels, name)
		}
		all = append(all, metric{m[1], labels})
	}
	return all
}
