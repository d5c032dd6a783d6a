package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/layby-go/layby/config"
)

// TestRightsAreNotGivenToEverybody looks to whom the commands give rights: never to those who do not log in.
func TestRightsAreNotGivenToEverybody(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.pem")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "order's consumer", Organization: []string{"shop"}}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		kafka      config.Kafka
		word, note string
	}{
		"a user":              {config.Kafka{SASL: &config.SASL{User: "o'neil"}, TLS: &config.TLS{CertFile: file}}, `'User:o'\''neil'`, ""},
		"a certificate":       {config.Kafka{TLS: &config.TLS{CertFile: file}}, `'User:CN=order'\''s consumer,O=shop'`, "ssl.principal.mapping.rules"},
		"no such certificate": {config.Kafka{TLS: &config.TLS{CertFile: file + "x"}}, "${PRINCIPAL:?", "can't be read"},
		"nobody, with TLS":    {config.Kafka{TLS: &config.TLS{}}, "${PRINCIPAL:?", "everybody may who does not log in"},
		"nobody":              {config.Kafka{}, "${PRINCIPAL:?", "everybody may who does not log in"},
	} {
		e := &examination{Patient: Patient{Config: &config.Config{Kafka: c.kafka}}}
		do := e.commands(&rights{missing: []string{"--operation Read --group orders"}}, false)
		command := do[len(do)-1]
		if !strings.Contains(command, "--allow-principal "+c.word) && !strings.Contains(command, c.word) || strings.Contains(command, "ANONYMOUS") {
			t.Errorf("%s: %s", name, command)
		}
		if c.note == "" && len(do) > 1 || c.note != "" && !strings.Contains(do[0], c.note) {
			t.Errorf("%s: %q", name, do)
		}
	}
}
