package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Role is what somebody may do; each may do what those before it may.
type Role string

// The roles.
const (
	Viewer   Role = "viewer"   // looks at everything, payloads too
	Operator Role = "operator" // amends, replays, discards, holds, submits
	Admin    Role = "admin"    // erases
)

// Roles are all roles, those that may do least first.
func Roles() []Role { return []Role{Viewer, Operator, Admin} }

// may says whether a role is enough where another is demanded.
func (r Role) may(demanded Role) bool {
	have, want := slices.Index(Roles(), r), slices.Index(Roles(), demanded)
	return have >= 0 && want >= 0 && have >= want
}

// A token is 256 random bits behind a word by which scanners for secrets can find it. Only its hash is kept: nobody can try that many,
// so a quick hash will do.
const (
	tokenPrefix = "layby_"
	hashPrefix  = "sha256:"
	tokenBytes  = 32
)

var (
	tokenForm = regexp.MustCompile(`^` + tokenPrefix + `[A-Za-z0-9_-]{43}$`)
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}$`)
)

// NewToken makes a token for somebody, and the line for the file of tokens.
func NewToken(name string, role Role) (token, line string, err error) {
	if err := checkName(name); err != nil {
		return "", "", err
	}
	if !slices.Contains(Roles(), role) {
		return "", "", errRole(string(role))
	}
	secret := make([]byte, tokenBytes)
	_, _ = rand.Read(secret) // never fails
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret)
	hash := sha256.Sum256([]byte(token))
	return token, fmt.Sprintf("%s %s %s%s", name, role, hashPrefix, hex.EncodeToString(hash[:])), nil
}

// entry is a line of the file.
type entry struct {
	name string
	role Role
	hash [sha256.Size]byte
}

// parseTokens reads a file of tokens: a name, a role and a hash a line; what follows # is a comment.
func parseTokens(text string) ([]entry, error) {
	var entries []entry
	lines := map[string]int{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		e, err := parseEntry(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if at := lines[e.name]; at > 0 {
			return nil, fmt.Errorf("line %d: %s has a token in line %d already: the audit log would not tell the two apart", n, e.name, at)
		}
		lines[e.name] = n
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("there is no token in it: add the line that layby admin token prints")
	}
	return entries, nil
}

// parseEntry never repeats a hash: the line may hold the token itself by mistake.
func parseEntry(fields []string) (e entry, err error) {
	if len(fields) != 3 {
		return e, fmt.Errorf("it has %d words: write a name, a role and a hash, as layby admin token prints them", len(fields))
	}
	e.name, e.role = fields[0], Role(fields[1])
	if err := checkName(e.name); err != nil {
		return e, err
	}
	if !slices.Contains(Roles(), e.role) {
		return e, errRole(fields[1])
	}
	digits, ok := strings.CutPrefix(fields[2], hashPrefix)
	hash, err := hex.DecodeString(digits)
	if !ok || err != nil || len(hash) != len(e.hash) {
		return e, fmt.Errorf("the third word is no hash: write %s and 64 hexadecimal digits, as layby admin token prints them", hashPrefix)
	}
	copy(e.hash[:], hash)
	return e, nil
}

func checkName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%.80q is no name: write up to 63 letters, digits and . _ @ + -, such as ann or deploy-bot", name)
	}
	return nil
}

func errRole(role string) error {
	return fmt.Errorf("%.80q is no role: write viewer, operator or admin", role)
}
