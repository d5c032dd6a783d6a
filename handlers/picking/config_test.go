package picking

import (
	"strings"
	"testing"
	"time"
)

func TestConfigurationsAreChecked(t *testing.T) {
	good := Config{CatalogueURL: "http://catalogue:8080"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	if _, err := New(good, nil); err == nil {
		t.Error("no pool")
	}
	err := Config{
		CatalogueURL: "http://user:secret@/x", CatalogueTimeout: -1, CatalogueConnections: -1, CacheTTL: time.Second, CacheSize: -1, Breaker: BreakerConfig{Window: -1, FailureRatio: 2},
		Barcodes: []BarcodeLayout{{}},
	}.Validate()
	for _, field := range []string{"CatalogueURL: is no", "CatalogueTimeout: -1ns", "CatalogueConnections: -1", "CacheUnknownTTL: 5s", "CacheSize: -1", "Breaker.Window: -1", "Breaker.FailureRatio: 2", "Barcodes[0].Prefix"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Error("it tells the password:", err)
	}
	for _, url := range []string{"", "catalogue:8080", "ftp://x", "http://x?y=1", "http://x#y", "http://\x00"} {
		if (Config{CatalogueURL: url}).Validate() == nil {
			t.Errorf("%q passes", url)
		}
	}

	if err := (OutboxConfig{PaymentTopic: "a", InconsistencyTopic: "a"}).Validate(); err != nil {
		t.Error(err)
	}
	err = OutboxConfig{Poll: -1, Batch: -1, ProduceTimeout: -1, MaxBackoff: time.Millisecond}.Validate()
	for _, field := range []string{"PaymentTopic: is empty", "InconsistencyTopic: is empty", "Poll: -1ns", "Batch: -1", "ProduceTimeout: -1ns", "MaxBackoff: 1ms"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

func TestTheOutboxBacksOff(t *testing.T) {
	o := &Outbox{cfg: OutboxConfig{}.withDefaults()}
	for failures, most := range map[int]time.Duration{0: defaultBackoff, 1: 2 * defaultBackoff, 3: 8 * defaultBackoff, 1000: defaultMaxBackoff} {
		if wait := o.backoff(failures); wait < most/2 || wait > most {
			t.Errorf("after %d failures: %v", failures, wait)
		}
	}
}
