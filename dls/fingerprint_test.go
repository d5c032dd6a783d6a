package dls

import (
	"strings"
	"testing"
)

func TestVariablePartsDoNotSplitAGroup(t *testing.T) {
	groups := map[string][]string{
		"numbers":     {"order 17 not found", "order 1842 not found", "order -3 not found"},
		"decimals":    {"took 1.5s", "took 200ms", "took 1m3.25s", "took 3e+09"},
		"prefixed":    {"no stock for order-17", "no stock for order-99812"},
		"uuids":       {"card 6f1e2c3d-0000-4000-8000-0123456789ab refused", "card AFEE2C3D-beef-4bad-8bad-abcdefabcdef refused"},
		"hex":         {"tx 0xc000a1b2 reverted", "tx 0x1 reverted"},
		"object ids":  {"doc 507f1f77bcf86cd799439011 is locked", "doc deadbeefdeadbeefdeadbeef is locked"},
		"times":       {"late since 2026-01-02T03:04:05Z.", "late since 2026-11-12T13:14:15.123456+02:00."},
		"clock times": {"late since 2026-01-02 03:04:05", "late since 1999-12-31 23:59:59"},
		"addresses":   {"dial tcp 10.0.0.1:5432: connection refused", "dial tcp 192.168.17.203:80: connection refused"},
		"ipv6":        {"dial tcp [fe80::1]:80: refused", "dial tcp [2001:db8::ff00:42:8329]:5432: refused"},
		"quoted":      {`unknown SKU "abc"`, `unknown SKU "a \"longer\" one, 7"`, "unknown SKU \"\""},
		"backquoted":  {"no column `a`", "no column `b c`"},
		"single":      {"can't read 'x'", "can't read 'y z'"},
		"space":       {"a  b\n\tc", "a b c"},
	}
	seen := map[string]string{}
	for name, texts := range groups {
		want := Fingerprint("E", texts[0])
		for _, text := range texts[1:] {
			if got := Fingerprint("E", text); got != want {
				t.Errorf("%s: %q is %q, %q is %q", name, texts[0], normalise(texts[0]), text, normalise(text))
			}
		}
		if other, ok := seen[want]; ok {
			t.Errorf("%s and %s have one fingerprint", name, other)
		}
		seen[want] = name
	}
}

func TestDifferentErrorsHaveDifferentFingerprints(t *testing.T) {
	texts := []string{
		"order not found", "order not paid", "order-17 not found", "user-17 not found", `unknown SKU "a"`, `unknown colour "a"`,
		"connection refused", "connection reset", "can't read", "don't read", "",
	}
	seen := map[string]string{}
	for _, text := range texts {
		f := Fingerprint("E", text)
		if other, ok := seen[f]; ok {
			t.Errorf("%q and %q have one fingerprint", text, other)
		}
		seen[f] = text
	}
	if Fingerprint("A", "x") == Fingerprint("B", "x") {
		t.Error("two classes have one fingerprint")
	}
}

// Rows keep fingerprints: a change of the rules splits every group that exists.
func TestFingerprintsAreStable(t *testing.T) {
	const want = "57ed8e2650e01617"
	if got := Fingerprint("UnknownProduct", `product "A-1" of order 17 is unknown to 10.0.0.1:80`); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzFingerprint(f *testing.F) {
	f.Add("order ", " not found", uint32(1), uint32(77))
	f.Add("a'b \"", "'\\", uint32(0), uint32(1<<31))
	f.Add("x-", "-y", uint32(5), uint32(6))
	f.Fuzz(func(t *testing.T, before, after string, a, b uint32) {
		text := func(n uint32) string { return before + " " + decimal(n) + " " + after }
		one, two := Fingerprint("E", text(a)), Fingerprint("E", text(b))
		if len(one) != 16 || strings.Trim(one, "0123456789abcdef") != "" {
			t.Fatalf("%q has the fingerprint %q", text(a), one)
		}
		if one != two {
			t.Fatalf("a number splits: %q, %q", normalise(text(a)), normalise(text(b)))
		}
		normalise(before + after)
	})
}

func decimal(n uint32) string {
	var b []byte
	for ; n > 0 || len(b) == 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}
