package group

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// recordPool lends the client the memory of its records, which come back with kgo.Record.Recycle. The bytes of keys, values
// and headers are not part of it: they stay with whoever refers to them.
type recordPool struct{ slabs sync.Pool }

// GetRecords implements kgo.PoolRecords.
func (p *recordPool) GetRecords(n int) []kgo.Record {
	if slab, ok := p.slabs.Get().(*[]kgo.Record); ok && cap(*slab) >= n {
		return (*slab)[:n]
	}
	return make([]kgo.Record, n)
}

// PutRecords implements kgo.PoolRecords.
func (p *recordPool) PutRecords(slab []kgo.Record) { p.slabs.Put(&slab) }
