package picking

import (
	"strings"
	"testing"
)

// ean completes twelve digits, by the sum from the left, other than the code does.
func ean(t testing.TB, digits string) string {
	t.Helper()
	if len(digits) != 12 {
		t.Fatalf("%q are not 12 digits", digits)
	}
	sum := 0
	for i, d := range digits {
		sum += int(d-'0') * []int{1, 3}[i%2]
	}
	return digits + string(rune('0'+(10-sum%10)%10))
}

func TestBarcodes(t *testing.T) {
	inner := []BarcodeLayout{
		{Prefix: "2", Kind: BarcodePrice, Item: 5, Value: 5, Decimals: 2, InnerCheck: 7},
		{Prefix: "21", Kind: BarcodePrice, Item: 5, Value: 4, Decimals: 0, InnerCheck: 12},
		{Prefix: "22", Kind: BarcodePrice, Item: 5, Value: 5, Decimals: 3},
	}
	for _, c := range []struct {
		name, barcode string
		layouts       []BarcodeLayout
		currency      string
		item          string
		price, grams  int64 // 0 when there is none
		wrong         string
	}{
		{name: "price", barcode: ean(t, "201234501999"), item: "12345", price: 1999},
		{name: "02 is a price", barcode: ean(t, "021234500001"), item: "12345", price: 1},
		{name: "yen have no decimals", barcode: ean(t, "201234501999"), currency: "JPY", item: "12345", price: 1999},
		{name: "dinars have three", barcode: ean(t, "201234501999"), currency: "KWD", item: "12345", price: 1999},
		{name: "grams", barcode: ean(t, "291234501250"), item: "12345", grams: 1250},
		{name: "weight of two decimals", barcode: ean(t, "241234500125"), item: "12345", grams: 1250},
		{name: "weight of one decimal", barcode: ean(t, "251234500012"), item: "12345", grams: 1200},
		{name: "the largest weight", barcode: ean(t, "251234599999"), item: "12345", grams: 9_999_900},
		{name: "12 digits of a UPC-A", barcode: ean(t, "021234500399")[1:], item: "12345", price: 399},
		{name: "12 digits of a brand", barcode: "036000291452", wrong: "not an in-store one"},
		{name: "a check digit of 12", barcode: "212345003990", wrong: "has the check digit 0"},
		{name: "a brand's barcode", barcode: "4006381333931", wrong: "not an in-store one"},
		{name: "none", wrong: "there is no barcode"},
		{name: "too short", barcode: "20123450199", wrong: "not of 13 digits"},
		{name: "letters", barcode: "20123450199X3", wrong: "not of 13 digits"},
		{name: "other digits", barcode: "２０１２", wrong: "not of 13 digits"},
		{name: "check digit", barcode: "2912345012345", wrong: "has the check digit 5, not 2"},
		{name: "nothing", barcode: ean(t, "201234500000"), wrong: "value 0"},
		{name: "inner check digit", layouts: inner, barcode: ean(t, "2"+"52345"+"6"+"14685"), item: "52345", price: 14685},
		{name: "inner check digit at the end, the longer prefix", layouts: inner, barcode: ean(t, "21"+"12345"+"2875"+"9"), item: "12345", price: 287500},
		{name: "wrong inner check digit", layouts: inner, barcode: ean(t, "2"+"52345"+"7"+"14685"), wrong: "check digit 7 for its value, not 6"},
		{name: "more decimals than the currency", layouts: inner, barcode: ean(t, "221234514685"), item: "12345", price: 1469},
		{name: "less than the smallest coin", layouts: inner, barcode: ean(t, "221234500004"), item: "12345"},
		{name: "no layouts", layouts: []BarcodeLayout{}, barcode: ean(t, "201234501999"), wrong: "not an in-store one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.layouts == nil {
				c.layouts = DefaultBarcodes()
			}
			if c.currency == "" {
				c.currency = "EUR"
			}
			got, err := readBarcode(c.barcode, c.layouts)
			if (err == nil) != (c.wrong == "") || (err != nil && !strings.Contains(err.Error(), c.wrong)) {
				t.Fatalf("the error is %v, wanted %q", err, c.wrong)
			}
			price, hasPrice := got.price(c.currency)
			grams, hasGrams := got.grams()
			if got.item != c.item || price.Amount != c.price || hasPrice != (c.price > 0) || grams != c.grams || hasGrams != (c.grams > 0) {
				t.Errorf("item %q, price %v, %d g", got.item, price, grams)
			}
		})
	}
}

// TestValueCheckDigit has the examples of the GS1 General Specifications, 7.9.
func TestValueCheckDigit(t *testing.T) {
	for digits, want := range map[string]byte{"2875": '9', "14685": '6', "123": 0} {
		if got := valueCheck(digits); got != want {
			t.Errorf("%s has %q, wanted %q", digits, got, want)
		}
	}
}

func TestLayoutsAreChecked(t *testing.T) {
	if err := checkLayouts(DefaultBarcodes()); err != nil {
		t.Error(err)
	}
	good := BarcodeLayout{Prefix: "21", Kind: BarcodePrice, Item: 5, Value: 5, Decimals: 2}
	for field, spoil := range map[string]func(*BarcodeLayout){
		"Barcodes[1].Prefix: \"\" is none":    func(l *BarcodeLayout) { l.Prefix = "" },
		"Barcodes[1].Prefix: \"2x\" is none":  func(l *BarcodeLayout) { l.Prefix = "2x" },
		"Barcodes[1].Prefix: \"21\" is there": func(l *BarcodeLayout) { l.Prefix = "21" },
		"Barcodes[1].Kind":                    func(l *BarcodeLayout) { l.Kind = 0 },
		"Barcodes[1].Item: -1":                func(l *BarcodeLayout) { l.Item = -1 },
		"Barcodes[1].Item: prefix":            func(l *BarcodeLayout) { l.Item = 6 },
		"Barcodes[1].Value: 0":                func(l *BarcodeLayout) { l.Value = 0 },
		"Barcodes[1].Value: 9":                func(l *BarcodeLayout) { l.Value = 9 },
		"Barcodes[1].Decimals: 6":             func(l *BarcodeLayout) { l.Decimals = 6 },
		"Barcodes[1].Decimals: -2":            func(l *BarcodeLayout) { l.Decimals = -2 },
		"Barcodes[1].Decimals: a weight":      func(l *BarcodeLayout) { l.Kind, l.Decimals = BarcodeWeight, CurrencyDecimals },
		"Barcodes[1].InnerCheck: 2 is":        func(l *BarcodeLayout) { l.InnerCheck, l.Item = 2, 4 },
		"Barcodes[1].InnerCheck: 13":          func(l *BarcodeLayout) { l.InnerCheck, l.Item = 13, 4 },
		"Barcodes[1].InnerCheck: it":          func(l *BarcodeLayout) { l.InnerCheck, l.Item, l.Value = 8, 3, 6 },
	} {
		bad := good
		bad.Prefix = "22"
		spoil(&bad)
		if err := checkLayouts([]BarcodeLayout{good, bad}); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func FuzzBarcode(f *testing.F) {
	for _, barcode := range []string{"", "2012345019993", "2912345012345", ean(f, "291234501250"), "４４", "2\x0012345012342"} {
		f.Add(barcode, byte(0))
	}
	layouts := DefaultBarcodes()
	layouts = append(layouts,
		BarcodeLayout{Prefix: "3", Kind: BarcodePrice, Item: 5, Value: 5, Decimals: 2, InnerCheck: 7},
		BarcodeLayout{Prefix: "4", Kind: BarcodeWeight, Item: 6, Value: 4, Decimals: 4, InnerCheck: 12},
		BarcodeLayout{Prefix: "5", Kind: BarcodePrice, Value: 8, Item: 3, Decimals: 8})
	f.Fuzz(func(t *testing.T, barcode string, change byte) {
		got, err := readBarcode(barcode, layouts)
		price, hasPrice := got.price("EUR")
		grams, hasGrams := got.grams()
		switch {
		case err != nil && got != (label{}):
			t.Fatalf("%v, and %v", err, got)
		case err != nil:
			return
		case hasPrice && hasGrams:
			t.Fatalf("%s has a price and a weight", barcode)
		case hasPrice && price.Amount <= 0, hasGrams && grams <= 0, got.value <= 0:
			t.Fatalf("%s has %v, %d g", barcode, price, grams)
		case barcode != ean(t, barcode[:12]):
			t.Fatalf("%s has a wrong check digit", barcode)
		}
		spoilt := []byte(barcode) // one digit misread is always found
		at := int(change) % len(spoilt)
		spoilt[at] = '0' + (spoilt[at]-'0'+1+change/26%9)%10
		if _, err := readBarcode(string(spoilt), layouts); err == nil && string(spoilt) != barcode {
			t.Fatalf("%s passes for %s", spoilt, barcode)
		}
	})
}
