package parking

import "github.com/layby-go/layby/ordering"

// resourcesOf lists the resources that a batch changes, each once.
func resourcesOf(w *ordering.Write) []string {
	var ids []string
	seen := map[string]bool{}
	add := func(id string) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, id := range w.Drop {
		add(id)
	}
	for i := range w.Reserve {
		add(w.Reserve[i].Row.Resource)
	}
	for i := range w.Update {
		add(w.Update[i].Resource)
	}
	for i := range w.Pointers {
		add(w.Pointers[i].Resource)
	}
	for i := range w.Bodies {
		add(w.Bodies[i].Resource)
	}
	for i := range w.Letters {
		add(w.Letters[i].Row.Resource)
	}
	for i := range w.Remove {
		add(w.Remove[i].Resource)
	}
	for i := range w.Resources {
		add(w.Resources[i].Resource)
	}
	for i := range w.Commands {
		add(w.Commands[i].Command.Resource)
	}
	return ids
}

// only is the part of a batch that changes the given resources, together with what belongs to none.
func only(w *ordering.Write, ids []string) *ordering.Write {
	in := make(map[string]bool, len(ids))
	for _, id := range ids {
		in[id] = true
	}
	return &ordering.Write{
		Version: w.Version, Seq: w.Seq, Marks: w.Marks, Starting: w.Starting, Started: w.Started,
		Drop:      keep(w.Drop, func(id *string) bool { return in[*id] }),
		Reserve:   keep(w.Reserve, func(r *ordering.Reservation) bool { return in[r.Row.Resource] }),
		Update:    keep(w.Update, func(u *ordering.Update) bool { return in[u.Resource] }),
		Pointers:  keep(w.Pointers, func(p *ordering.PointerUpdate) bool { return in[p.Resource] }),
		Bodies:    keep(w.Bodies, func(b *ordering.BodyUpdate) bool { return in[b.Resource] }),
		Letters:   keep(w.Letters, func(l *ordering.Letter) bool { return in[l.Row.Resource] }),
		Remove:    keep(w.Remove, func(r *ordering.Removal) bool { return in[r.Resource] }),
		Resources: keep(w.Resources, func(r *ordering.ResourceState) bool { return in[r.Resource] }),
		Commands:  keep(w.Commands, func(c *ordering.CommandRun) bool { return in[c.Command.Resource] }),
	}
}

func keep[T any](all []T, want func(*T) bool) []T {
	var kept []T
	for i := range all {
		if want(&all[i]) {
			kept = append(kept, all[i])
		}
	}
	return kept
}
