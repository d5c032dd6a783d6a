package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby/dls"
)

// errStale says that what was seen is not what is there.
var errStale = errors.New("it has changed since: look at it again")

// etag is a version as HTTP writes it.
func etag(version int) string { return `"` + strconv.Itoa(version) + `"` }

var etagForm = regexp.MustCompile(`^"([0-9]{1,9})"$`)

// MatchHeader says which version was seen.
type MatchHeader struct {
	Match string `header:"If-Match" doc:"The ETag of what was corrected, as \"0\"; * for whatever is there. When it has another version, the answer is 412." maxLength:"100"`
}

// expected is the version that was seen; nil for any.
func (m *MatchHeader) expected() (*int, error) {
	text := strings.TrimSpace(m.Match)
	switch found := etagForm.FindStringSubmatch(text); {
	case text == "":
		return nil, huma.NewError(http.StatusPreconditionRequired, `which version was corrected? Send its ETag: If-Match: "0"`)
	case text == "*":
		return nil, nil //nolint:nilnil // any version
	case found != nil:
		version, err := strconv.Atoi(found[1])
		return &version, err
	}
	return nil, errStale // it is no ETag of this API
}

// stale makes a conflict errStale when the version is the reason for it.
func stale(ctx context.Context, err error, expected *int, current func(context.Context) (int, error)) error {
	if expected == nil || !errors.Is(err, dls.ErrConflict) {
		return err
	}
	if version, failed := current(ctx); failed == nil && version != *expected {
		return fmt.Errorf("%w (it is at version %d, not %d)", errStale, version, *expected)
	}
	return err
}
