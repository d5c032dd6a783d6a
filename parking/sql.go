package parking

import (
	"embed"
	"fmt"

	"github.com/layby-go/layby/migrations"
)

//go:embed sql/*.sql
var files embed.FS

// queries are the SQL texts, with the schema's name filled in.
type queries struct {
	fence, drop, reserve, update, pointers, bodies, remove, resources, execute string
	results, commands, acquire, loadResources, loadRows, loadBodies            string
	owner, end, waiting, lanes, resize, rewind, recover, recovered             string
	setCut, elsewhere, settled, pauses, gates, rights, steer                   string
	requests, prepare                                                          string
}

func newQueries(schema string) (*queries, error) {
	q := &queries{}
	for name, to := range map[string]*string{
		"fence": &q.fence, "drop": &q.drop, "reserve": &q.reserve, "update": &q.update, "pointers": &q.pointers,
		"bodies": &q.bodies, "remove": &q.remove, "resources": &q.resources, "execute": &q.execute,
		"results": &q.results, "commands": &q.commands, "acquire": &q.acquire, "load_resources": &q.loadResources,
		"load_rows": &q.loadRows, "load_bodies": &q.loadBodies, "owner": &q.owner, "end": &q.end,
		"waiting": &q.waiting, "lanes": &q.lanes, "resize": &q.resize, "rewind": &q.rewind,
		"recover": &q.recover, "recovered": &q.recovered, "set_cut": &q.setCut, "elsewhere": &q.elsewhere, "settled": &q.settled,
		"pauses": &q.pauses, "gates": &q.gates, "rights": &q.rights, "steer": &q.steer,
		"requests": &q.requests, "prepare": &q.prepare,
	} {
		text, err := files.ReadFile("sql/" + name + ".sql")
		if err != nil {
			return nil, fmt.Errorf("read the SQL of %s: %w", name, err)
		}
		*to = migrations.Render(string(text), schema)
	}
	return q, nil
}
