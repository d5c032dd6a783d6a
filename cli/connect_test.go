package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/layby-go/layby/config"
	"github.com/layby-go/layby/integration/stack"
)

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	der, key := a.sign(t, "authority")
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, key
	return a
}

// sign makes a certificate for 127.0.0.1; the first one is the authority's own.
func (a *authority) sign(t *testing.T, name string) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{name},
		IsCA: a.cert == nil, BasicConstraintsValid: true,
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// pair is a certificate as a server uses it.
func (a *authority) pair(t *testing.T, name string) tls.Certificate {
	t.Helper()
	der, key := a.sign(t, name)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writePair writes a client's certificate and key.
func (a *authority) writePair(t *testing.T, cert, key string) {
	t.Helper()
	der, private := a.sign(t, "client")
	writePEM(t, cert, "CERTIFICATE", der)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, key, "PRIVATE KEY", encoded)
}

// ping connects anew and asks a broker.
func ping(t *testing.T, cfg config.Kafka) error {
	t.Helper()
	opts, err := kafkaOptions(cfg)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(opts, kgo.RequestRetries(0))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	return client.Ping(t.Context())
}

func TestKafkaOverMutualTLSReadsItsFilesAtEachConnection(t *testing.T) {
	dir := t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	right, wrong := newAuthority(t), newAuthority(t)
	brokers := fakeBrokers(t, kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{right.pair(t, "broker")}, ClientCAs: right.pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	}))
	cfg := config.Kafka{Brokers: brokers.ListenAddrs(), TLS: &config.TLS{CAFile: ca, CertFile: cert, KeyFile: key}}

	writePEM(t, ca, "CERTIFICATE", right.cert.Raw)
	right.writePair(t, cert, key)
	opts, err := kafkaOptions(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}

	// The files are replaced while the client lives: its next connection uses what they hold then.
	writePEM(t, ca, "CERTIFICATE", wrong.cert.Raw)
	if err := ping(t, cfg); err == nil || !needsPerson(err) {
		t.Errorf("a broker of another authority was trusted: %v", err)
	}
	writePEM(t, ca, "CERTIFICATE", right.cert.Raw)
	wrong.writePair(t, cert, key)
	if err := ping(t, cfg); err == nil {
		t.Error("a client certificate of another authority was taken")
	}
	right.writePair(t, cert, key)
	if err := ping(t, cfg); err != nil {
		t.Error(err)
	}
	cfg.TLS.ServerName = "another"
	if err := ping(t, cfg); err == nil {
		t.Error("a broker with another name was trusted")
	}
	cfg.TLS.ServerName = "broker"
	if err := ping(t, cfg); err != nil {
		t.Error(err)
	}

	if err := os.WriteFile(ca, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := kafkaOptions(cfg); err == nil || err.Error() != "kafka.tls.ca_file: "+ca+" holds no certificate in PEM form" {
		t.Errorf("error %v", err)
	}
}

func TestAConnectionReadsTheFilesOfThatMoment(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	old, current := newAuthority(t), newAuthority(t)
	writePEM(t, ca, "CERTIFICATE", old.cert.Raw)
	brokers := fakeBrokers(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{current.pair(t, "broker")}}))
	opts, err := kafkaOptions(config.Kafka{Brokers: brokers.ListenAddrs(), TLS: &config.TLS{CAFile: ca}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(append(opts, kgo.RequestRetries(0))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(t.Context()); err == nil {
		t.Fatal("an unknown authority was trusted")
	}
	writePEM(t, ca, "CERTIFICATE", current.cert.Raw)
	if err := client.Ping(t.Context()); err != nil {
		t.Errorf("the same client does not read the file again: %v", err)
	}
}

func TestKafkaWithEachKindOfLogin(t *testing.T) {
	brokers := fakeBrokers(t, kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "plain", "hunter2"), kfake.Superuser("SCRAM-SHA-256", "s256", "hunter2"),
		kfake.Superuser("SCRAM-SHA-512", "s512", "hunter2"))
	file := filepath.Join(t.TempDir(), "password")
	for user, mechanism := range map[string]string{"plain": "PLAIN", "s256": "SCRAM-SHA-256", "s512": "SCRAM-SHA-512"} {
		cfg := config.Kafka{Brokers: brokers.ListenAddrs(), SASL: &config.SASL{Mechanism: mechanism, User: user, Password: "hunter2"}}
		if err := ping(t, cfg); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		cfg.SASL.Password = "wrong"
		if err := ping(t, cfg); err == nil {
			t.Errorf("%s with a wrong password: %v", mechanism, err)
		}
		cfg.SASL.Password, cfg.SASL.PasswordFile = "", file
		for text, good := range map[string]bool{"hunter2\n": true, "old": false} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := ping(t, cfg); (err == nil) != good {
				t.Errorf("%s with the file %q: %v", mechanism, text, err)
			}
		}
	}
}

func TestPostgresReadsItsFileAtEachConnection(t *testing.T) {
	raw := stack.SharedPostgres(t).NewDatabase(t)
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	role := stack.Name(t, "rotated")
	admin, err := pgx.Connect(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(t.Context()) }()
	if _, err := admin.Exec(t.Context(), fmt.Sprintf("create role %s login password 'one'", role)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := admin.Exec(t.Context(), "drop role "+role); err != nil {
			t.Error(err)
		}
	}()
	file := filepath.Join(t.TempDir(), "url")
	write := func(user *url.Userinfo) {
		u.User = user
		if err := os.WriteFile(file, []byte(u.String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := u.User
	write(before)
	pool, err := openPostgres(t.Context(), config.Postgres{URLFile: file, Schema: "layby", MaxConnections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	who := func() string {
		var user, name string
		if err := pool.QueryRow(t.Context(), "select current_user, current_setting('application_name')").Scan(&user, &name); err != nil {
			t.Fatal(err)
		}
		if name != "layby" {
			t.Errorf("application_name %q", name)
		}
		return user
	}
	if got := who(); got != before.Username() {
		t.Errorf("user %s", got)
	}
	write(url.UserPassword(role, "one"))
	pool.Reset() // the connections end; the next one logs in anew
	if got := who(); got != role {
		t.Errorf("the replaced file was not read: user %s", got)
	}
	if pool.Config().MaxConns != 2 {
		t.Errorf("%d connections", pool.Config().MaxConns)
	}
}

func TestAFileThatIsGoneIsAnErrorOfTheConfiguration(t *testing.T) {
	_, err := openPostgres(t.Context(), config.Postgres{URLFile: filepath.Join(t.TempDir(), "gone")})
	if exitCodeOf(err) != exitUsage || !strings.Contains(err.Error(), "read postgres.url_file") {
		t.Errorf("error %v", err)
	}
}
