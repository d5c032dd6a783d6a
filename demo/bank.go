package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/layby-go/layby/handlers/money"
)

// newCard begins the tokens of cards that are good.
const newCard = "new-card-"

// bank is the payment service, with the API that package payment describes, and its books.
type bank struct {
	mu    sync.Mutex
	cards map[string]card // by order
	keys  map[string]*charge
	taken []charge // what was taken, in turn
}

// charge is what became of an idempotency key.
type charge struct {
	Payment string      `json:"payment"`
	Status  string      `json:"status"`
	Invoice string      `json:"invoice"`
	Amount  money.Money `json:"amount"`
	refused bool
}

func newBank(orders []*order) *bank {
	b := &bank{cards: map[string]card{}, keys: map[string]*charge{}}
	for _, o := range orders {
		b.cards[o.id()] = o.card
	}
	return b
}

// pay answers a request for a payment. A key is worked on once.
func (b *bank) pay(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Order, Invoice, Card string
		Amount               money.Money
	}
	key := r.Header.Get("Idempotency-Key")
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || key == "" {
		http.Error(w, "there is no payment in it, or no key", http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.keys[key]
	if c == nil {
		c = &charge{Payment: fmt.Sprintf("payment-%d", len(b.keys)+1), Invoice: asked.Invoice, Amount: asked.Amount, Status: "pending"}
		b.keys[key] = c
		of := b.cards[asked.Order]
		if strings.HasPrefix(asked.Card, newCard) {
			of = goodCard
		}
		switch of {
		case goodCard:
			b.take(c)
		case expiredCard:
			c.refused = true
		case slowCard: // taken when it is asked after
		}
	}
	c.answer(w)
}

// find answers what became of a key. What was pending is decided by then.
func (b *bank) find(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.keys[r.PathValue("key")]
	if c == nil {
		writeJSON(w, http.StatusNotFound, map[string]string{"code": "unknown_key", "key": r.PathValue("key")})
		return
	}
	if c.Status == "pending" && !c.refused {
		b.take(c)
	}
	c.answer(w)
}

func (b *bank) take(c *charge) {
	c.Status = "captured"
	b.taken = append(b.taken, *c)
}

func (c *charge) answer(w http.ResponseWriter) {
	if c.refused {
		writeJSON(w, http.StatusPaymentRequired, map[string]string{"code": "card_expired", "message": "the card has expired"})
		return
	}
	writeJSON(w, http.StatusOK, c)
}

// sum sums up the books.
func (b *bank) sum() (total books) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := map[string]bool{}
	for _, c := range b.taken {
		total.charges++
		total.sum += c.Amount.Amount
		if seen[c.Invoice] {
			total.twice++
		}
		seen[c.Invoice] = true
	}
	return total
}
