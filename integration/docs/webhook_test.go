package docs

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/handlers/webhook"
)

// request compares the page's request with the one that a webhook sends for that event.
func request(t *testing.T, shown string) {
	t.Helper()
	head, body, _ := strings.Cut(strings.TrimSuffix(shown, "\n"), "\n\n")
	want, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + body)))
	if err != nil {
		t.Fatal(err)
	}
	var got *http.Request
	var sent []byte
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sent, _ = io.ReadAll(r.Body)
		got = r
	}))
	defer s.Close()
	h, err := webhook.New(webhook.Config{URL: s.URL + want.URL.Path, ClusterID: func() string { return "aKmckewxc6s4bp6rmB0fyw" }})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	err = h.Handle(t.Context(), &layby.Event{
		Topic: "order-events", Partition: 3, Offset: 1841, Key: []byte("order-17"), Value: []byte(body), Type: "order.picked",
		Resource: "order-17", Attempt: 2, Token: 42, Timestamp: time.Date(2026, 1, 1, 12, 0, 0, 123e6, time.UTC),
	})
	if err != nil {
		t.Fatal(err)
	}
	got.Header.Del("Accept-Encoding") // the transport's own
	if got.Method != want.Method || got.URL.Path != want.URL.Path || got.ContentLength != int64(len(body)) || !bytes.Equal(sent, []byte(body)) {
		t.Errorf("%s %s %d %s", got.Method, got.URL.Path, got.ContentLength, sent)
	}
	same := func(a, b []string) bool { return strings.Join(a, "|") == strings.Join(b, "|") }
	if want.Header.Get("Content-Length") != "" {
		want.Header.Del("Content-Length")
	}
	got.Header.Del("Content-Length")
	if !maps.EqualFunc(got.Header, want.Header, same) {
		t.Errorf("the page has\n%v\nand sent is\n%v", want.Header, got.Header)
	}
}

// statuses compares the page's tables of statuses with what a webhook makes of each.
func statuses(t *testing.T, p *page) {
	t.Helper()
	table := p.text[strings.Index(p.text, "| status | verdict |"):]
	table = table[:strings.Index(table, "\n\n")]
	want, other := map[int]string{}, ""
	for _, m := range regexp.MustCompile(`(?m)^\| (.*) \| (success|retriable|unavailable|permanent) \|$`).FindAllStringSubmatch(table, -1) {
		if m[1] == "other" {
			other = m[2]
			continue
		}
		for _, part := range strings.Split(m[1], ", ") {
			from, to, _ := strings.Cut(part, " to ")
			first, err := strconv.Atoi(from)
			last := first
			if err == nil && to != "" {
				last, err = strconv.Atoi(to)
			}
			if err != nil {
				t.Fatalf("%s is no status: %v", part, err)
			}
			for code := first; code <= last; code++ {
				want[code] = m[2]
			}
		}
	}
	answer := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(answer) }))
	defer s.Close()
	h, err := webhook.New(webhook.Config{URL: s.URL, Breakers: webhook.NewBreakers("", webhook.BreakerConfig{MinCalls: 10_000})})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for answer = 200; answer < 600; answer++ {
		expected := want[answer]
		if expected == "" {
			expected = other
		}
		if got := fmt.Sprint(layby.Judge(h.Handle(t.Context(), &layby.Event{})).Verdict); got != expected {
			t.Errorf("%d is %s, and the page says %s", answer, got, expected)
		}
	}
}
