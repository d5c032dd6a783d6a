package picking

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/layby-go/layby/handlers/money"
)

var euro = offer{known: true, price: money.Money{Amount: 100, Currency: "EUR"}, per: each}

// asked is what is behind a cache in a test.
type asked struct {
	mu    sync.Mutex
	times int
	offer offer
	err   error
}

func (a *asked) ask() (offer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times++
	return a.offer, a.err
}

func testCache(size int, now *time.Time) *cache {
	return newCache(Config{CacheTTL: 30 * time.Second, CacheUnknownTTL: 5 * time.Second, CacheSize: size, Now: func() time.Time { return *now }})
}

func TestAnswersExpire(t *testing.T) {
	for _, c := range []struct {
		name  string
		offer offer
		ttl   time.Duration
	}{{"a price", euro, 30 * time.Second}, {"unknown", offer{}, 5 * time.Second}} {
		now := time.Unix(1000, 0)
		cached, a := testCache(10, &now), &asked{offer: c.offer}
		for _, step := range []struct {
			later time.Duration
			times int
		}{{0, 1}, {c.ttl - 1, 1}, {1, 2}, {c.ttl - 1, 2}, {2, 3}} {
			now = now.Add(step.later)
			if got, err := cached.get(t.Context(), "p", a.ask); err != nil || got != c.offer || a.times != step.times {
				t.Errorf("%s, at %v: %v, %v, asked %d times, wanted %d", c.name, now, got, err, a.times, step.times)
			}
		}
	}
}

func TestFailuresAreNotRemembered(t *testing.T) {
	now := time.Unix(1000, 0)
	cached, a := testCache(10, &now), &asked{err: errors.New("away")}
	if _, err := cached.get(t.Context(), "p", a.ask); !errors.Is(err, a.err) {
		t.Error(err)
	}
	a.err, a.offer = nil, euro
	if got, err := cached.get(t.Context(), "p", a.ask); err != nil || got != euro {
		t.Error(got, err)
	}
}

func TestTheOldestAnswerMakesRoom(t *testing.T) {
	now := time.Unix(1000, 0)
	cached, a := testCache(3, &now), &asked{offer: euro}
	get := func(product int) int {
		before := a.times
		if _, err := cached.get(t.Context(), strconv.Itoa(product), a.ask); err != nil {
			t.Fatal(err)
		}
		return a.times - before
	}
	for product := range 100 {
		get(product)
	}
	if len(cached.answers) != 3 || cached.byAge.Len() != 3 {
		t.Errorf("%d and %d are remembered", len(cached.answers), cached.byAge.Len())
	}
	if get(99) != 0 || get(97) != 0 || get(96) != 1 || get(97) != 1 {
		t.Error("not the newest ones are remembered")
	}
}

func TestQuestionsAtTheSameTimeAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Unix(1000, 0)
		cached, a, answer := testCache(10, &now), &asked{offer: euro}, make(chan struct{})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				got, err := cached.get(t.Context(), "p", func() (offer, error) {
					<-answer
					return a.ask()
				})
				if err != nil || got != euro {
					t.Error(got, err)
				}
			})
		}
		synctest.Wait()
		close(answer)
		all.Wait()
		if a.times != 1 {
			t.Errorf("asked %d times", a.times)
		}
	})
}

// TestAnotherAsksWhenTheFirstGivesUp also has one that waits give up.
func TestAnotherAsksWhenTheFirstGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Unix(1000, 0)
		cached, a := testCache(10, &now), &asked{offer: euro}
		first, giveUp := context.WithCancel(t.Context())
		impatient, loseIt := context.WithCancel(t.Context())
		var all sync.WaitGroup
		get := func(ctx context.Context, want error, ask func() (offer, error)) {
			all.Go(func() {
				if _, err := cached.get(ctx, "p", ask); !errors.Is(err, want) {
					t.Errorf("%v, wanted %v", err, want)
				}
			})
			synctest.Wait()
		}
		get(first, context.Canceled, func() (offer, error) {
			<-first.Done()
			return offer{}, first.Err()
		})
		get(impatient, context.Canceled, a.ask)
		get(t.Context(), nil, a.ask)
		loseIt()
		synctest.Wait()
		giveUp()
		all.Wait()
		if a.times != 1 {
			t.Errorf("asked %d times", a.times)
		}
	})
}

func TestAPanicLetsTheOthersGo(t *testing.T) {
	now := time.Unix(1000, 0)
	cached, a := testCache(10, &now), &asked{offer: euro}
	func() {
		defer func() { _ = recover() }()
		_, _ = cached.get(t.Context(), "p", func() (offer, error) { panic("no") })
	}()
	if got, err := cached.get(t.Context(), "p", a.ask); err != nil || got != euro {
		t.Error(got, err)
	}
}
