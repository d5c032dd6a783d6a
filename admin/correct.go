package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby"
	"github.com/layby-go/layby/dls"
	"github.com/layby-go/layby/internal/schema"
)

// NewValue is a value that is sent: in one of its forms. JSON stays as it is written.
type NewValue []byte

var errNewValue = errors.New(`write one of {"text": "..."}, {"json": ...} and {"base64": "..."}`)

// UnmarshalJSON reads one of the forms.
func (v *NewValue) UnmarshalJSON(data []byte) error {
	var forms struct {
		Text   *string          `json:"text"`
		JSON   *json.RawMessage `json:"json"`
		Base64 *string          `json:"base64"`
	}
	if json.Unmarshal(data, &forms) != nil {
		return errNewValue
	}
	var is map[string]json.RawMessage
	if json.Unmarshal(data, &is) != nil || len(is) != 1 {
		return errNewValue
	}
	switch {
	case forms.Text != nil:
		*v = append(NewValue{}, *forms.Text...)
	case is["json"] != nil: // null is a JSON value too
		*v = append(NewValue{}, is["json"]...)
	case forms.Base64 != nil:
		b, err := decode64(*forms.Base64)
		if err != nil {
			return err
		}
		*v = append(NewValue{}, b...)
	default:
		return errNewValue
	}
	return nil
}

// Schema describes the forms.
func (NewValue) Schema(huma.Registry) *huma.Schema {
	form := func(name string, of *huma.Schema) *huma.Schema {
		return &huma.Schema{Type: huma.TypeObject, Required: []string{name}, AdditionalProperties: false, Properties: map[string]*huma.Schema{name: of}}
	}
	return &huma.Schema{
		Description: "A value: as text, as JSON (its bytes are those that are sent), or its bytes in base64.",
		OneOf: []*huma.Schema{
			form("text", &huma.Schema{Type: huma.TypeString}), form("json", &huma.Schema{}),
			base64Object(),
		},
	}
}

// CorrectBody is a correction.
type CorrectBody struct {
	Value   *NewValue `json:"value,omitempty" doc:"Left out, it stays."`
	Headers *[]Header `json:"headers,omitempty" nullable:"false" maxItems:"1000" doc:"All headers that it has from now on; left out, they stay."`
	Reason  string    `json:"reason" minLength:"1" maxLength:"2000" doc:"Why, for the audit log."`
	Force   bool      `json:"force,omitempty" doc:"Take a value that does not match the JSON Schema of its type, or is no JSON where it was; the audit log shows it."`
}

// Resolve says what is missing.
func (b *CorrectBody) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	var errs []error
	if b.Value == nil && b.Headers == nil {
		errs = append(errs, &huma.ErrorDetail{Location: at.String(), Message: "nothing is corrected: give a value, or headers"})
	}
	if strings.TrimSpace(b.Reason) == "" {
		errs = append(errs, noReason(at))
	}
	return errs
}

func (b *CorrectBody) correction(expected *int) dls.Correction {
	c := dls.Correction{Expected: expected}
	if b.Value != nil {
		c.Value = append([]byte{}, *b.Value...)
	}
	if b.Headers != nil {
		list := eventHeaders(*b.Headers)
		c.Headers = &list
	}
	return c
}

// checked refuses a value that does not match the schema of its type, or is no JSON where it was; force has it noted instead.
func (a *API) checked(c *dls.Correction, consumer string, was *layby.Event, hasBytes, force bool) error {
	if c.Value == nil {
		return nil
	}
	file := a.schemas(consumer, was.Type)
	details := map[string]any{"forced": true}
	var against error
	switch {
	case file != "":
		against = schema.Check(file, c.Value)
		details["schema"] = file
	case hasBytes && json.Valid(was.Value) && !json.Valid(c.Value):
		against = errors.New("the value is no JSON any more")
		details["json"] = false
	}
	switch {
	case against == nil:
	case force:
		c.Details = details
	default:
		return huma.NewError(http.StatusUnprocessableEntity, "the value cannot be used; with force it is taken all the same",
			&huma.ErrorDetail{Location: "body.value", Message: against.Error()})
	}
	return nil
}
