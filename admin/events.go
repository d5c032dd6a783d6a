package admin

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/layby-go/layby/dls"
)

func (a *API) eventRoutes() {
	route(a, Operator, huma.Operation{
		OperationID: "submit-event", Method: http.MethodPost, Path: prefix + "/events", Tags: []string{"events"},
		Summary: "Have a consumer run an event that is in no topic, or a copy of a record", DefaultStatus: http.StatusAccepted, Errors: []int{404, 409},
		Description: "It is run by the owner of its partition, behind what its resource has waiting, and goes the way of all events: it is retried when " +
			"it fails, and dies when nothing helps. Whether a copy's record is there its owner finds out: see the operation.",
	}, a.submit)
}

type submitInput struct {
	KeyHeader

	Body SubmitBody
}

// SubmitBody is an event: new bytes, or a copy of a record.
type SubmitBody struct {
	Consumer  string    `json:"consumer" minLength:"1" maxLength:"1000" doc:"The consumer (its group)."`
	Key       NullBytes `json:"key,omitempty" doc:"Left out or null, it has none."`
	Value     *NewValue `json:"value,omitempty" doc:"Left out, it has none."`
	Headers   []Header  `json:"headers,omitempty" maxItems:"1000"`
	Topic     string    `json:"topic,omitempty" maxLength:"249" doc:"That it is said to come from; the consumer's first without it."`
	Partition *int32    `json:"partition,omitempty" minimum:"0" doc:"Without it, the one in which the resource of its key is, or that Kafka's default partitioner gives the key."`
	Copy      *Position `json:"copy,omitempty" doc:"In place of key, value, headers, topic and partition: the record to copy."`
	Reason    string    `json:"reason" minLength:"1" maxLength:"2000" doc:"Why, for the audit log."`
}

// Position is where a record is.
type Position struct {
	Topic     string `json:"topic" minLength:"1" maxLength:"249"`
	Partition int32  `json:"partition" minimum:"0"`
	Offset    int64  `json:"offset" minimum:"0"`
}

// Resolve says what does not go together.
func (b *SubmitBody) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	var errs []error
	if b.Copy != nil && (b.Key != nil || b.Value != nil || len(b.Headers) > 0 || b.Topic != "" || b.Partition != nil) {
		errs = append(errs, &huma.ErrorDetail{Location: at.With("copy"), Message: "a copy has all else from its record: leave out key, value, headers, topic and partition"})
	}
	topic := b.Topic
	if b.Copy != nil {
		topic = b.Copy.Topic
	}
	if strings.ContainsRune(topic, 0) {
		errs = append(errs, &huma.ErrorDetail{Location: at.With("topic"), Message: "no topic has a NUL in its name"})
	}
	if strings.TrimSpace(b.Reason) == "" {
		errs = append(errs, noReason(at))
	}
	return errs
}

func (a *API) submit(ctx context.Context, in *submitInput) (*commandOutput, error) {
	b := &in.Body
	return a.command(ctx, in.KeyHeader, func(s *dls.Store) (*dls.Command, error) {
		if b.Copy != nil {
			return s.SubmitCopy(ctx, by(ctx, b.Reason), b.Consumer, b.Copy.Topic, b.Copy.Partition, b.Copy.Offset)
		}
		e := dls.Submission{Consumer: b.Consumer, Key: []byte(b.Key), Headers: eventHeaders(b.Headers), Topic: b.Topic, Partition: b.Partition}
		if b.Value != nil {
			e.Value = append([]byte{}, *b.Value...)
		}
		return s.Submit(ctx, by(ctx, b.Reason), e)
	})
}
