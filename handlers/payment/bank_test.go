package payment_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/layby-go/layby/handlers/money"
)

// order is what is posted to the bank.
type order struct {
	Order   string      `json:"order"`
	Invoice string      `json:"invoice"`
	Amount  money.Money `json:"amount"`
	Card    string      `json:"card"`
}

// paid is the bank's answer.
type paid struct {
	Payment string      `json:"payment"`
	Status  string      `json:"status"`
	Invoice string      `json:"invoice"`
	Amount  money.Money `json:"amount"`
}

// fault is what the bank does instead of a plain answer. Each part can be nil.
type fault struct {
	before func(w http.ResponseWriter, r *http.Request) // instead of any work
	change func(p *paid)                                // of the answer to work that was done
	after  func(w http.ResponseWriter, r *http.Request) // instead of the answer to it
}

// call is one that came to the bank.
type call struct{ method, key, authorization string }

// bank is a payment service as the package comment of payment describes it, with a ledger.
type bank struct {
	*httptest.Server

	mu      sync.Mutex
	ledger  map[string]int    // charges, by invoice
	orders  map[string]int    // charges, by order
	known   map[string]order  // what was posted, by key
	answers map[string]answer // by key
	calls   []call
	refuse  string // the code of the card's refusal, empty for a good card
	reused  int    // how often a key came with other content
	good    string // a card that is not refused whatever refuse says
	pending bool   // new payments are
	fault   fault
}

type answer struct {
	status int
	body   any
}

func newBank(t testing.TB) *bank {
	b := &bank{}
	b.forget()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /payments", b.post)
	mux.HandleFunc("GET /payments/{key}", b.get)
	b.Server = httptest.NewServer(mux)
	t.Cleanup(b.Close)
	return b
}

// forget starts over.
func (b *bank) forget() {
	b.set(func() {
		b.ledger, b.orders, b.known, b.answers = map[string]int{}, map[string]int{}, map[string]order{}, map[string]answer{}
		b.calls, b.refuse, b.reused, b.good, b.pending, b.fault = nil, "", 0, "", false, fault{}
	})
}

// expire forgets all keys, but not the charges.
func (b *bank) expire() {
	b.set(func() { b.known, b.answers = map[string]order{}, map[string]answer{} })
}

// lose decides what is pending, and forgets the keys of that.
func (b *bank) lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, a := range b.answers {
		if p, ok := a.body.(paid); ok && p.Status == "pending" {
			b.charge(key, b.known[key])
			delete(b.answers, key)
			delete(b.known, key)
		}
	}
}

// set changes the bank.
func (b *bank) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func (b *bank) fails(f fault) { b.set(func() { b.fault = f }) }

// got returns the calls since the last time.
func (b *bank) got() []call {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.calls
	b.calls = nil
	return got
}

// charges checks the ledger.
func (b *bank) charges(t testing.TB, invoice string, want int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := b.ledger[invoice]; got != want {
		t.Errorf("%s was charged %d times, wanted %d", invoice, got, want)
	}
}

// noReuse checks that no key came with other content.
func (b *bank) noReuse(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reused > 0 {
		t.Errorf("keys came with other content %d times", b.reused)
	}
}

// decide ends what is pending.
func (b *bank) decide() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending = false
	for key, a := range b.answers {
		if p, ok := a.body.(paid); ok && p.Status == "pending" {
			b.answers[key] = b.charge(key, b.known[key])
		}
	}
}

func (b *bank) post(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller went away
	}
	key, body := r.Header.Get("Idempotency-Key"), order{}
	if err := json.Unmarshal(raw, &body); err != nil || key == "" {
		http.Error(w, "no order or no key", http.StatusBadRequest)
		return
	}
	b.answer(w, r, key, func() answer {
		known, again := b.known[key]
		switch {
		case again && known != body:
			b.reused++
			return answer{http.StatusConflict, map[string]string{"code": "key_reused", "message": "other content"}}
		case !again:
			b.known[key], b.answers[key] = body, b.work(key, body)
		}
		return b.answers[key]
	})
}

func (b *bank) get(w http.ResponseWriter, r *http.Request) {
	key := r.PathValue("key")
	b.answer(w, r, key, func() answer {
		if a, known := b.answers[key]; known {
			return a
		}
		return answer{http.StatusNotFound, map[string]string{"code": "unknown_key", "key": key}}
	})
}

// answer notes the call, does its work and answers, as far as the bank's fault lets it.
func (b *bank) answer(w http.ResponseWriter, r *http.Request, key string, work func() answer) {
	b.mu.Lock()
	b.calls = append(b.calls, call{r.Method, key, r.Header.Get("Authorization")})
	f := b.fault
	if f.before != nil {
		b.mu.Unlock()
		f.before(w, r)
		return
	}
	a := work()
	b.mu.Unlock()
	if f.after != nil {
		f.after(w, r)
		return
	}
	if p, ok := a.body.(paid); ok && f.change != nil {
		f.change(&p)
		a.body = p
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}

func (b *bank) work(key string, o order) answer {
	switch {
	case b.refuse != "" && (o.Card == "" || o.Card != b.good):
		return answer{http.StatusPaymentRequired, map[string]string{"code": b.refuse, "message": "card 4111 1111 1111 1111"}}
	case b.pending:
		return answer{http.StatusCreated, paid{"pay_" + key, "pending", o.Invoice, o.Amount}}
	}
	return b.charge(key, o)
}

func (b *bank) charge(key string, o order) answer {
	b.ledger[o.Invoice]++
	b.orders[o.Order]++
	return answer{http.StatusCreated, paid{"pay_" + key, "captured", o.Invoice, o.Amount}}
}

// The bank's ways to fail.

func status(code int, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func body(code int, text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

// drop closes the connection.
func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// hang answers nothing until the caller has gone.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// cut breaks off in the body.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"payment":"pay_1",`)
}

// upgrade keeps a connection on which nothing more comes.
func upgrade(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	_, _ = io.Copy(io.Discard, conn)
}

// endless sends a body until nobody reads it, and counts its bytes.
func endless(sent *atomic.Int64) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for {
			n, err := io.WriteString(w, strings.Repeat(" ", 32<<10))
			if err != nil {
				return
			}
			sent.Add(int64(n))
		}
	}
}

// flood sends a payment in more bytes than anybody wants.
func flood(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"payment":"pay_1","status":"captured","invoice":"o-17-3","amount":{"amount":1299,"currency":"EUR"}}%s`,
		strings.Repeat(" ", 64<<10))
}
