package demo

import (
	"net/http"
	"testing"
)

func post(t *testing.T, url string, at string, attempt string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(positionHeader, topicName+"/"+at)
	req.Header.Set(attemptHeader, attempt)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

func TestServiceAnswersByFateAndAttempt(t *testing.T) {
	s := plan(300, 30, 1)
	v, err := startService(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := v.close(); err != nil {
			t.Error(err)
		}
	})
	seen := map[Fate]bool{}
	for _, e := range s.events {
		if seen[e.fate] {
			continue
		}
		seen[e.fate] = true
		for _, try := range []struct {
			attempt string
			fine    map[Fate]bool
		}{
			{"1", map[Fate]bool{Fine: true}},
			{"2", map[Fate]bool{Fine: true, FailsOnce: true}},
			{"4", map[Fate]bool{Fine: true, FailsOnce: true, FailsToTier1: true}},
			{"7", map[Fate]bool{Fine: true, FailsOnce: true, FailsToTier1: true, FailsToTier2: true}},
		} {
			status, err := post(t, v.eventsURL(2), e.at().String(), try.attempt)
			if err != nil {
				t.Fatal(err)
			}
			if ok := status < 300; ok != try.fine[e.fate] {
				t.Errorf("fate %d, attempt %s: status %d", e.fate, try.attempt, status)
			}
		}
	}
	if calls := v.journal.snapshot(); len(calls) != 4*len(seen) || calls[0].Member != 2 || calls[0].event == nil {
		t.Errorf("the journal holds %d calls, the first is %+v", len(calls), calls[0])
	}
}

func TestPaymentsCanBeDown(t *testing.T) {
	s := plan(300, 30, 1)
	v, err := startService(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := v.close(); err != nil {
			t.Error(err)
		}
	})
	for _, down := range []bool{false, true, false} {
		v.payments.setDown(down)
		status, err := post(t, v.paymentsURL(1), s.events[0].at().String(), "9")
		if (err != nil) != down {
			t.Errorf("down %t: status %d, error %v", down, status, err)
		}
		if _, err := post(t, v.eventsURL(1), s.events[0].at().String(), "9"); err != nil {
			t.Errorf("the rest of the service while payments are down %t: %v", down, err)
		}
	}
}
