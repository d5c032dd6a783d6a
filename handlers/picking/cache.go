package picking

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// cache remembers the catalogue's answers for a short while, and lets one caller ask for a product while the others wait
// for its answer. It never holds more than size products, and nothing of a question that failed. It has no goroutines.
type cache struct {
	ttl, unknownTTL time.Duration
	size            int
	now             func() time.Time

	mu      sync.Mutex
	answers map[string]*list.Element // of byAge
	byAge   *list.List               // of *answer, the oldest first
	asking  map[string]*question
}

type answer struct {
	product string
	offer   offer
	until   time.Time
}

// question is one that is being asked. When done is closed, the rest is set.
type question struct {
	done  chan struct{}
	offer offer
	err   error
	moot  bool // the caller that asked gave up before there was an answer
}

func newCache(cfg Config) *cache {
	return &cache{
		ttl: cfg.CacheTTL, unknownTTL: cfg.CacheUnknownTTL, size: cfg.CacheSize, now: cfg.Now,
		answers: map[string]*list.Element{}, byAge: list.New(), asking: map[string]*question{},
	}
}

// get returns the answer for a product, remembered or asked for. Ask must end when ctx does. If another caller asks
// already, get waits for its answer; if that one gives up, get asks itself.
func (c *cache) get(ctx context.Context, product string, ask func() (offer, error)) (offer, error) {
	for {
		c.mu.Lock()
		if found, ok := c.fresh(product); ok {
			c.mu.Unlock()
			return found, nil
		}
		q := c.asking[product]
		if q == nil {
			q = &question{done: make(chan struct{}), moot: true}
			c.asking[product] = q
			c.mu.Unlock()
			return c.ask(ctx, product, q, ask)
		}
		c.mu.Unlock()
		select {
		case <-q.done:
			if !q.moot {
				return q.offer, q.err
			}
		case <-ctx.Done():
			return offer{}, context.Cause(ctx)
		}
	}
}

// ask answers a question for all who wait for it. They are let go even when it panics.
func (c *cache) ask(ctx context.Context, product string, q *question, ask func() (offer, error)) (offer, error) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.asking, product)
		if !q.moot && q.err == nil {
			c.remember(product, q.offer)
		}
		close(q.done)
	}()
	q.offer, q.err = ask()
	q.moot = q.err != nil && ctx.Err() != nil
	return q.offer, q.err
}

func (c *cache) fresh(product string) (offer, bool) {
	el := c.answers[product]
	if el == nil {
		return offer{}, false
	}
	a, _ := el.Value.(*answer)
	if c.now().Before(a.until) {
		return a.offer, true
	}
	c.forget(el)
	return offer{}, false
}

func (c *cache) remember(product string, o offer) {
	if el := c.answers[product]; el != nil {
		c.forget(el)
	}
	for c.byAge.Len() >= c.size {
		c.forget(c.byAge.Front())
	}
	ttl := c.ttl
	if !o.known {
		ttl = c.unknownTTL
	}
	c.answers[product] = c.byAge.PushBack(&answer{product: product, offer: o, until: c.now().Add(ttl)})
}

func (c *cache) forget(el *list.Element) {
	a, _ := c.byAge.Remove(el).(*answer)
	delete(c.answers, a.product)
}
