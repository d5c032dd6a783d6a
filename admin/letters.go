package admin

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby/dls"
)

// prefix is where everything is.
const prefix = "/api/v1"

const letterTag = "dead letters"

func (a *API) lettersRoutes() {
	get := func(id, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: prefix + path, Summary: summary, Tags: []string{letterTag}, Errors: errors}
	}
	route(a, Viewer, get("list-dead-letters", "/dead-letters", "List dead letters, those that failed last first"), a.listLetters)
	route(a, Viewer, get("count-dead-letters", "/dead-letters/count", "Count dead letters"), a.countLetters)
	route(a, Viewer, get("list-dead-letter-groups", "/dead-letters/groups", "List kinds of errors, those with the most open letters first"), a.listGroups)
	route(a, Viewer, get("get-dead-letter", "/dead-letters/{id}", "Show a dead letter with its bytes and attempts", 404), a.getLetter)
	route(a, Viewer, get("get-dead-letter-timeline", "/dead-letters/{id}/timeline", "Show what happened to a dead letter, in its order", 404), a.getTimeline)
	route(a, Viewer, get("list-dead-letter-versions", "/dead-letters/{id}/versions", "Show every version of a dead letter's bytes", 404), a.listVersions)
}

// PageQuery is a part of a list.
type PageQuery struct {
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"1000" doc:"How many."`
	Cursor string `query:"cursor" doc:"The next of the page before, with the same filter." maxLength:"1000"`
}

// LookQuery bounds a search.
type LookQuery struct {
	Look int `query:"look" default:"100000" minimum:"1" maximum:"10000000" doc:"How many may be looked at for what has no index."`
}

// Looked says how far a search came that looked at as much as it might.
type Looked struct {
	Next     string     `json:"next,omitempty" doc:"The cursor of the next page."`
	Looked   int        `json:"looked,omitempty" doc:"The page isn't full because so many were looked at; next goes on behind them."`
	LookedTo *time.Time `json:"looked_to,omitempty" doc:"How far back that was."`
}

type listLettersInput struct {
	FilterQuery
	PageQuery
	LookQuery
}

type listLettersOutput struct {
	Body LetterPage
}

// LetterPage is a page of dead letters.
type LetterPage struct {
	Looked

	Letters []Letter `json:"letters" nullable:"false"`
}

func (a *API) listLetters(ctx context.Context, in *listLettersInput) (*listLettersOutput, error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	after, err := parseCursor(in.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := a.store.List(ctx, f, dls.Page{Limit: in.Limit, After: after, Look: in.Look})
	if err != nil {
		return nil, err
	}
	out := &listLettersOutput{}
	out.Body.Letters = views(found.Letters, viewLetter)
	out.Body.Looked = Looked{found.Next.String(), found.Looked, utcOrNil(found.LookedTo)}
	return out, nil
}

func parseCursor(text string) (dls.Cursor, error) {
	c, err := dls.ParseCursor(text)
	if err != nil {
		return c, huma.Error400BadRequest(err.Error())
	}
	return c, nil
}

func views[T, V any](list []T, view func(*T) V) []V {
	out := make([]V, len(list))
	for i := range list {
		out[i] = view(&list[i])
	}
	return out
}

type countLettersInput struct {
	FilterQuery
	LookQuery
}

type countLettersOutput struct {
	Body struct {
		Count  int64 `json:"count"`
		Exact  bool  `json:"exact" doc:"false when there are more."`
		Looked int   `json:"looked,omitempty" doc:"So many of the newest were looked at, no more."`
	}
}

func (a *API) countLetters(ctx context.Context, in *countLettersInput) (*countLettersOutput, error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	n, err := a.store.Count(ctx, f, in.Look)
	if err != nil {
		return nil, err
	}
	out := &countLettersOutput{}
	out.Body.Count, out.Body.Exact, out.Body.Looked = n.N, n.Exact, n.Looked
	return out, nil
}

type listGroupsInput struct {
	Consumer    string `query:"consumer" maxLength:"1000"`
	Class       string `query:"class" maxLength:"1000"`
	Fingerprint string `query:"fingerprint" maxLength:"100"`
	Text        string `query:"text" doc:"In the error of the sample, in any case." maxLength:"1000"`
	All         bool   `query:"all" doc:"Also groups without an open letter."`
	Limit       int    `query:"limit" default:"50" minimum:"1" maximum:"1000"`
}

type listGroupsOutput struct {
	Body struct {
		Groups []Group `json:"groups" nullable:"false"`
		More   bool    `json:"more" doc:"There are more: narrow it."`
	}
}

func (a *API) listGroups(ctx context.Context, in *listGroupsInput) (*listGroupsOutput, error) {
	f := dls.GroupFilter{Consumer: in.Consumer, Class: in.Class, Fingerprint: in.Fingerprint, Text: in.Text, Open: !in.All}
	groups, more, err := a.store.Groups(ctx, f, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &listGroupsOutput{}
	out.Body.More = more
	out.Body.Groups = views(groups, func(g *dls.Group) Group {
		v := Group(*g)
		v.FirstSeen, v.LastSeen = utc(g.FirstSeen), utc(g.LastSeen)
		return v
	})
	return out, nil
}

// LetterInput names a dead letter.
type LetterInput struct {
	ID int64 `path:"id" minimum:"1"`
}

// Resolve notes the id for the access log.
func (in *LetterInput) Resolve(ctx huma.Context) []error {
	note(ctx.Context(), func(l *line) { l.id = strconv.FormatInt(in.ID, 10) })
	return nil
}

// AsQuery says how values are written.
type AsQuery struct {
	As string `query:"as" default:"text" enum:"text,json,hex,base64" doc:"The form of values. One that has not got it is in base64."`
}

type getLetterInput struct {
	LetterInput
	AsQuery
}

type getLetterOutput struct {
	ETag string `header:"ETag" doc:"The version of the letter's bytes, for If-Match."`
	Body LetterDetail
}

func (a *API) getLetter(ctx context.Context, in *getLetterInput) (*getLetterOutput, error) {
	d, err := a.store.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &getLetterOutput{ETag: etag(d.Version), Body: viewDetail(d, in.As)}, nil
}

type timelineOutput struct {
	Body struct {
		Timeline []Happening `json:"timeline" nullable:"false"`
	}
}

func (a *API) getTimeline(ctx context.Context, in *LetterInput) (*timelineOutput, error) {
	list, err := a.store.Timeline(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &timelineOutput{}
	out.Body.Timeline = views(list, viewHappening)
	return out, nil
}

type versionsOutput struct {
	Body struct {
		Versions []Version `json:"versions" nullable:"false"`
	}
}

func (a *API) listVersions(ctx context.Context, in *getLetterInput) (*versionsOutput, error) {
	list, err := a.store.Versions(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &versionsOutput{}
	out.Body.Versions = views(list, func(v *dls.Version) Version { return viewVersion(v, in.As) })
	return out, nil
}
