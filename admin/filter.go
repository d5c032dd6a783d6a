package admin

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby/dls"
)

// FilterQuery is a filter of dead letters in a query. Its conditions are joined with and.
type FilterQuery struct {
	ResourceQuery

	Consumer    string      `query:"consumer" doc:"Only of this consumer (its group)." maxLength:"1000"`
	Type        string      `query:"type" doc:"Only of this event type." maxLength:"1000"`
	Class       string      `query:"class" doc:"Only of this error class." maxLength:"1000"`
	Fingerprint string      `query:"fingerprint" doc:"Only of this kind of error." maxLength:"100"`
	Correlation string      `query:"correlation" doc:"Only with this correlation id." maxLength:"1000"`
	Text        string      `query:"text" doc:"Only with this text in the error, in any case." maxLength:"1000"`
	Headers     []string    `query:"header,explode" doc:"Only with this header, as tenant=acme; can be repeated." maxItems:"20"`
	JSON        []string    `query:"json,explode" doc:"Only with this in the value: a pointer, as /card/brand=visa, or an SQL/JSON path, as $.total > 100; can be repeated." maxItems:"20"`
	Since       time.Time   `query:"since" doc:"Only failed then or later."`
	Until       time.Time   `query:"until" doc:"Only failed before."`
	States      []dls.State `query:"state,explode" doc:"Only in one of these states; can be repeated." enum:"dead,awaiting correction,replaying,healed,discarded" maxItems:"5"`
	Amended     string      `query:"amended" doc:"Only amended ones, or only the others." enum:"true,false"`
}

func (q *FilterQuery) filter() (dls.Filter, error) {
	f := dls.Filter{
		Consumer: q.Consumer, Resource: q.resource, Type: q.Type, Class: q.Class, Fingerprint: q.Fingerprint, Correlation: q.Correlation,
		Text: q.Text, Since: q.Since, Until: q.Until, States: q.States,
	}
	if q.Amended != "" {
		amended := q.Amended == "true"
		f.Amended = &amended
	}
	for _, text := range q.Headers {
		h, err := dls.ParseHeaderTest(text)
		if err != nil {
			return f, badFilter("query.header", err)
		}
		f.Headers = append(f.Headers, h)
	}
	return f, addJSON(&f, "query.json", q.JSON)
}

// Filter is a filter of dead letters in a body: what is left out selects nothing by itself.
type Filter struct {
	Consumer    string       `json:"consumer,omitempty" maxLength:"1000"`
	Resource    *Bytes       `json:"resource,omitempty"`
	Type        string       `json:"type,omitempty" maxLength:"1000"`
	Class       string       `json:"class,omitempty" maxLength:"1000"`
	Fingerprint string       `json:"fingerprint,omitempty" maxLength:"100"`
	Correlation string       `json:"correlation,omitempty" maxLength:"1000"`
	Text        string       `json:"text,omitempty" maxLength:"1000"`
	Headers     []HeaderTest `json:"headers,omitempty" maxItems:"20"`
	JSON        []string     `json:"json,omitempty" maxItems:"20" doc:"Each a pointer, as /card/brand=visa, or an SQL/JSON path, as $.total > 100."`
	Since       *time.Time   `json:"since,omitempty" doc:"Failed then or later."`
	Until       *time.Time   `json:"until,omitempty" doc:"Failed before."`
	States      []dls.State  `json:"states,omitempty" enum:"dead,awaiting correction,replaying,healed,discarded" maxItems:"5" doc:"Without them: dead and awaiting correction."`
	Amended     *bool        `json:"amended,omitempty"`
}

// HeaderTest is a header that an event has to have.
type HeaderTest struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (in *Filter) filter() (dls.Filter, error) {
	if err := in.noNUL(); err != nil {
		return dls.Filter{}, err
	}
	f := dls.Filter{
		Consumer: in.Consumer, Type: in.Type, Class: in.Class, Fingerprint: in.Fingerprint, Correlation: in.Correlation, Text: in.Text,
		States: in.States, Amended: in.Amended,
	}
	if in.Resource != nil {
		resource := string(*in.Resource)
		f.Resource = &resource
	}
	if in.Since != nil {
		f.Since = *in.Since
	}
	if in.Until != nil {
		f.Until = *in.Until
	}
	for _, h := range in.Headers {
		f.Headers = append(f.Headers, dls.HeaderTest(h))
	}
	return f, addJSON(&f, "body.filter.json", in.JSON)
}

// noNUL refuses what no column of texts can hold: it would find nothing.
func (in *Filter) noNUL() error {
	texts := map[string][]string{
		"consumer": {in.Consumer}, "type": {in.Type}, "class": {in.Class}, "fingerprint": {in.Fingerprint}, "correlation": {in.Correlation},
		"text": {in.Text}, "json": in.JSON,
	}
	for _, h := range in.Headers {
		texts["headers"] = append(texts["headers"], h.Name)
	}
	for name, list := range texts {
		for _, text := range list {
			if strings.ContainsRune(text, 0) {
				return badFilter("body.filter."+name, errors.New("it has a NUL"))
			}
		}
	}
	return nil
}

// all says whether a filter has no condition.
func (in *Filter) all() bool {
	return in.Consumer == "" && in.Resource == nil && in.Type == "" && in.Class == "" && in.Fingerprint == "" && in.Correlation == "" &&
		in.Text == "" && len(in.Headers) == 0 && len(in.JSON) == 0 && in.Since == nil && in.Until == nil && len(in.States) == 0 && in.Amended == nil
}

func addJSON(f *dls.Filter, where string, tests []string) error {
	for _, text := range tests {
		j, err := dls.ParseJSONTest(text)
		if err != nil {
			return badFilter(where, err)
		}
		f.JSON = append(f.JSON, j)
	}
	return nil
}

func badFilter(where string, err error) error {
	return huma.NewError(http.StatusBadRequest, "the filter cannot be used", &huma.ErrorDetail{Location: where, Message: err.Error()})
}
