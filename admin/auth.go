package admin

import (
	"context"
	"net/http"
	"strings"
)

// identity is who asks: the name in the audit log, and what they may do.
type identity struct {
	Name string
	Role Role
}

// nobody stands for everybody on this machine, where there is no file of tokens. To erase, one has to be somebody.
var nobody = identity{Name: "anonymous", Role: Operator}

type identityKey struct{}

// who asks. Without an answer of authenticate, nobody who may do nothing.
func whoAsks(ctx context.Context) identity {
	who, _ := ctx.Value(identityKey{}).(identity)
	return who
}

// authenticate says who sent a request, or writes an answer and returns false.
func (a *API) authenticate(w http.ResponseWriter, r *http.Request) (identity, bool) {
	if a.tokens == nil {
		return nobody, true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	who, ok, err := a.tokens.find(r.Context(), strings.TrimSpace(token))
	switch {
	case err != nil: // logged where it was found
		writeProblem(w, http.StatusServiceUnavailable, "tokens can't be checked: the log of the process says why")
		return identity{}, false
	case !ok || !strings.EqualFold(scheme, "Bearer"):
		w.Header().Set("WWW-Authenticate", `Bearer realm="layby"`)
		writeProblem(w, http.StatusUnauthorized, "send a token that is known here: Authorization: Bearer layby_...")
		return identity{}, false
	}
	return who, true
}

// authorise is the one place where it is decided who may do what: each route has the role that it was registered with, and what was not
// registered is for nobody. It hands a request over with who asks.
func (a *API) authorise(w http.ResponseWriter, r *http.Request) {
	who, ok := a.authenticate(w, r)
	if !ok {
		return
	}
	note(r.Context(), func(l *line) { l.who = who.Name })
	_, pattern := a.mux.Handler(r)
	demanded, registered := a.demanded[pattern]
	switch {
	case cleaned(r.URL.Path) != r.URL.Path:
		writeProblem(w, http.StatusNotFound, "there is nothing at this path")
		return
	case pattern == "", len(a.literal[r.URL.Path]) > 0 && strings.Contains(pattern, "{"): // what has a name is no id
		a.notServed(w, r)
		return
	case !registered:
		writeProblem(w, http.StatusForbidden, "this is for nobody")
		return
	case !who.Role.may(demanded):
		writeProblem(w, http.StatusForbidden, "this needs the role "+string(demanded)+"; "+who.Name+" has the role "+string(who.Role))
		return
	}
	note(r.Context(), func(l *line) { l.route = pattern })
	if !received(w, r) || !filled(w, r, a.filled[pattern]) {
		return
	}
	a.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, who)))
}
