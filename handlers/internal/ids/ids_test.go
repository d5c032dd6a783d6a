package ids_test

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/layby-go/layby/handlers/internal/ids"
)

func TestIDs(t *testing.T) {
	for id, good := range map[string]bool{
		"o-17": true, " a/b#å": true, strings.Repeat("o", 180): true,
		"": false, strings.Repeat("o", 181): false, "a\x00": false, "a\n": false, "a\u0085": false, "a\xff": false, "a\uFFFD": false,
	} {
		if err := ids.Check(id, ids.MaxOrder); (err == nil) != good {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestTheLongestInvoiceFits(t *testing.T) {
	invoice := strings.Repeat("o", ids.MaxOrder) + "/" + strconv.FormatInt(math.MaxInt64, 10)
	if err := ids.Check(invoice, ids.MaxInvoice); err != nil || len(invoice) != ids.MaxInvoice {
		t.Error(err, len(invoice))
	}
}
