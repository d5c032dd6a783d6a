package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestADeadLetterIsReplayedOverHTTP asks a running consumer for a replay, which it carries out.
func TestADeadLetterIsReplayedOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{file: `admin: {listen: "127.0.0.1:0"}`})
	w.service.fails("order", 1, 1, permanent)
	w.rounds(3, "order")
	m := w.start()
	w.rest(20 * time.Second)
	w.expectRuns("order", "0:204", "1:422")
	_, rest, _ := strings.Cut(m.text(), `msg="serving the HTTP API" address=`)
	address, _, _ := strings.Cut(rest, "\n")
	body := fmt.Sprintf(`{"ids":[%d],"reason":"the catalogue is fixed"}`, w.letterOf("order", 1).ID)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/api/v1/dead-letters/replay", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s, %v", resp.StatusCode, text, err)
	}
	eventually(t, 20*time.Second, "the replay has run", func() (bool, string) {
		return len(w.runsOf("order")) == 4, w.service.tail(4)
	})
	w.rest(20 * time.Second)
	w.expectRuns("order", "0:204", "1:422", "1:204", "2:204")
	w.check(except{})
	m.stop()
}
