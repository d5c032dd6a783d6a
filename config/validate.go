package config

import (
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// validator checks what no single value's type or tags can say.
type validator struct {
	*report
	cfg  *Config
	opts options
}

func validate(cfg *Config, r *report, o options) {
	v := &validator{report: r, cfg: cfg, opts: o}
	v.kafka()
	v.postgres()
	v.listen()
	v.admin()
	for i := range cfg.Consumers {
		v.consumer(item("consumers", i), &cfg.Consumers[i])
	}
	v.groups()
}

func (v *validator) kafka() {
	k := &v.cfg.Kafka
	if len(k.Brokers) == 0 && v.ok("kafka.brokers") {
		v.fail("kafka.brokers", "is empty: write at least one broker, such as localhost:9092")
	}
	for i, broker := range k.Brokers {
		p := item("kafka.brokers", i)
		if v.ok(p) && !isHostPort(broker, 1) {
			v.fail(p, "%q is no broker: write host:port, such as localhost:9092", broker)
		}
	}
	if k.TLS != nil {
		v.file("kafka.tls.ca_file", k.TLS.CAFile)
		v.file("kafka.tls.cert_file", k.TLS.CertFile)
		v.file("kafka.tls.key_file", k.TLS.KeyFile)
		if (k.TLS.CertFile == "") != (k.TLS.KeyFile == "") {
			v.fail("kafka.tls", "cert_file and key_file go together: write both or neither")
		}
	}
	if k.SASL != nil {
		v.sasl(k.SASL)
	}
}

func (v *validator) sasl(s *SASL) {
	const password, file = "kafka.sasl.password", "kafka.sasl.password_file"
	v.file(file, s.PasswordFile)
	switch {
	case !v.ok("kafka.sasl"):
	case s.Password != "" && s.PasswordFile != "":
		v.fail(password, "is set beside password_file: keep one of them")
	case s.Password == "" && s.PasswordFile == "":
		v.fail("kafka.sasl", "has no password: write password_file, or set %sKAFKA__SASL__PASSWORD", envPrefix)
	}
	if s.Mechanism == "PLAIN" && v.cfg.Kafka.TLS == nil {
		v.warn("kafka.sasl.mechanism", "PLAIN without kafka.tls sends the password in the clear")
	}
}

var (
	// schemaName leaves room for what is appended to the name (roles, the notification channel) in Postgres' 63 bytes.
	schemaName  = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)
	keyValueDSN = regexp.MustCompile(`^\s*\w+\s*=`)
)

func (v *validator) postgres() {
	p := &v.cfg.Postgres
	const at = "postgres.url"
	_, written := v.origins[at]
	if p.URLFile != "" {
		v.file("postgres.url_file", p.URLFile)
		if written {
			v.fail(at, "is set beside url_file: keep one of them")
		} else {
			p.URL = ""
		}
	}
	// No text of url.Parse here: it repeats the URL and so the password.
	if u, err := url.Parse(p.URL.Reveal()); p.URLFile == "" && v.ok(at) && !keyValueDSN.MatchString(p.URL.Reveal()) &&
		(err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql") {
		v.fail(at, "is no connection URL: write postgres://user@host:5432/database; special characters of a password are "+
			"written as %%40 for @, %%2F for / and so on")
	}
	switch s := p.Schema; {
	case !v.ok("postgres.schema"):
	case !schemaName.MatchString(s):
		v.fail("postgres.schema", "%q is no schema name: write up to 40 lower-case letters, digits and _, such as layby", s)
	case strings.HasPrefix(s, "pg_"), s == "information_schema":
		v.fail("postgres.schema", "%q is reserved by Postgres: write another name, such as layby", s)
	case s == "public":
		v.fail("postgres.schema", "%q is shared: write a name of Layby's own, such as layby", s)
	}
}

func (v *validator) listen() {
	if v.ok("http.listen") && !isHostPort(v.cfg.HTTP.Listen, 0) {
		v.fail("http.listen", "%q is no address: write host:port, such as 127.0.0.1:8080, or :8080 for every interface", v.cfg.HTTP.Listen)
	}
}

func (v *validator) admin() {
	const listen, tokens = "admin.listen", "admin.tokens_file"
	a := &v.cfg.Admin
	v.file(tokens, a.TokensFile)
	switch {
	case a.Listen == "" || !v.ok(listen):
	case !isHostPort(a.Listen, 0):
		v.fail(listen, "%q is no address: write host:port, such as 127.0.0.1:8081", a.Listen)
	case a.Listen == v.cfg.HTTP.Listen && !strings.HasSuffix(a.Listen, ":0"):
		v.fail(listen, "is the address of http.listen too: write another port")
	case !IsLoopback(a.Listen) && a.TokensFile == "":
		v.fail(tokens, "is required: %s can be reached from other machines. Make a token with layby admin token and name the file of its line here, "+
			"or listen on 127.0.0.1", a.Listen)
	case !IsLoopback(a.Listen):
		v.warn(listen, "tokens are sent to %s in the clear: let others reach it through something that encrypts, such as an ingress", a.Listen)
	}
}

// IsLoopback says whether an address (host:port) can be reached from its own machine alone.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// file checks that a file can be read.
func (v *validator) file(path, file string) {
	if file == "" || !v.ok(path) {
		return
	}
	f, err := os.Open(file)
	if err != nil {
		v.fail(path, "%s can't be read: %v", file, unwrapPath(err))
		return
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || info.IsDir() || info.Mode().IsRegular() && info.Size() == 0 {
		v.fail(path, "%s is empty or no file", file)
	}
}

// groups refuses a group that occurs twice: its consumers would take each other's partitions.
func (v *validator) groups() {
	first := map[string]int{}
	for i := range v.cfg.Consumers {
		group, path := v.cfg.Consumers[i].Group, child(item("consumers", i), "group")
		if j, twice := first[group]; twice && group != "" {
			v.fail(path, "%q is the group of consumers[%d] too: write another name, or join the two consumers", group, j)
			continue
		}
		first[group] = i
	}
}

// isHostPort checks an address. lowest is the lowest port that makes sense.
func isHostPort(address string, lowest int) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, " /@") || lowest > 0 && host == "" {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= lowest && n <= 65535
}
