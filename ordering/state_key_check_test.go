package ordering

import (
	"errors"
	"hash/maphash"
	"testing"
)

// TestKeyTellsStatesApart takes states that have one key and were reached on different ways, and looks whether the same
// can happen next in them: else the key leaves out something that makes a difference, and a search would not be
// exhaustive.
func TestKeyTellsStatesApart(t *testing.T) {
	scopes := scopesKey
	if raceDetector {
		scopes = scopes[len(scopes)-1:]
	}
	for _, text := range scopes {
		t.Run(text, func(t *testing.T) {
			n := compareTwins(t, parse(t, text))
			if n == 0 {
				t.Fatal("no state was reached on two ways")
			}
			t.Logf("%d states were reached on a second way", n)
		})
	}
}

func compareTwins(t *testing.T, sc *scope) int {
	t.Helper()
	seed := maphash.MakeSeed()
	next := map[string]uint64{}    // by key: what can happen next
	crashes := map[string]uint64{} // by crashKey: where crashes lead to
	w, err := newWorld(sc)
	if err != nil {
		t.Fatal(err)
	}
	twins := 0
	for queue := []*world{w}; len(queue) > 0; {
		w := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		key := string(w.key(nil))
		was, known := next[key]
		var sum, ends uint64
		for _, a := range w.actions(nil) {
			n := w.clone()
			b := []byte{byte(a.kind), byte(a.a), byte(a.b), byte(a.c)}
			err := n.do(a)
			switch {
			case errors.Is(err, errCut):
				b = append(b, 'x')
			case err != nil:
				t.Fatal(err)
			default:
				b = n.key(b)
				if !known {
					queue = append(queue, n)
				}
			}
			sum ^= maphash.Bytes(seed, b)
			if a.kind.crash() {
				ends ^= maphash.Bytes(seed, b)
			}
		}
		if w.crashes > 0 {
			end := string(w.crashKey(nil))
			if was, known := crashes[end]; known && was != ends {
				t.Fatalf("two states look the same to a crash, and it does not lead to the same: %s", w.picture())
			}
			crashes[end] = ends
		}
		if !known {
			next[key] = sum
			continue
		}
		twins++
		if was != sum {
			t.Fatalf("two states have one key, and not the same can happen next: %s", w.picture())
		}
	}
	return twins
}
