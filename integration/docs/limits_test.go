package docs

import "testing"

// limits checks what the page would have a person write and ask.
func limits(t *testing.T, p *page) {
	valid(t, p.block("yaml", "max_span").text, nil)
	execute(t, migrated(t), p, split(p.block("sql", "octet_length"))...)
}
