package docs

import (
	"net/url"
	"os/user"
	"regexp"
	"slices"
	"testing"

	"github.com/layby-go/layby/integration/stack"
)

// asks is what a page's commands say when they change something, and can't be run again and again.
var asks = regexp.MustCompile(`layby dls (amend|replay)|layby\.(amend|replay)\(`)

// whenAnEventDies has the letters of the page die, and then does what the page has a person do, as commands and in psql. The page's
// person is ann, who works as the database user layby.
func whenAnEventDies(t *testing.T, p *page) {
	port := freePort(t)
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(stack.SharedPostgres(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	role := server.User.Username()
	s := open(t, "localhost:8000", "localhost:"+port, "handler.py 8000", "handler.py "+port,
		"ann as layby", self.Username+" as "+role, "| layby", "| "+role, "healed  ann", "healed  "+self.Username, "healed  layby", "healed  "+role)
	s.write("layby.yaml", p.block("yaml", "consumers:"))
	s.run(&block{text: "layby migrate up"})
	s.start(p.block("sh", "handler.py"))
	s.run(p.block("sh", "--create"))
	s.start(&block{text: "layby run"})

	first := p.block("sh", "layby dls groups\n")
	for _, b := range p.blocks[slices.Index(p.blocks, first):] {
		switch b.language {
		case "sql":
			s.inPsql(p, b)
		case "sh":
			s.show(p, b)
		}
	}
}

// inPsql runs a block's statements in psql.
func (s *terminal) inPsql(p *page, b *block) {
	typed := b.text
	b.text = "psql --no-psqlrc --set=ON_ERROR_STOP=1 " + pagePostgres + " <<'END'\n" + typed + "END\n"
	s.show(p, b)
	b.text = typed
}

// show runs a block's commands and compares what they print, of questions in the end.
func (s *terminal) show(p *page, b *block) {
	b.claimed = true
	if asks.MatchString(b.text) {
		s.prints(p, b)
	} else {
		s.eventuallyPrints(p, b)
	}
}
