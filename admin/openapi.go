package admin

import (
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// sharpen has the description say what each answer is: what huma makes of an operation does not know of the guard before it.
func (a *API) sharpen() {
	doc := a.huma.OpenAPI()
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post} {
			if op != nil {
				sharpenOperation(op)
			}
		}
	}
}

func sharpenOperation(op *huma.Operation) {
	accepted := op.Responses[strconv.Itoa(http.StatusAccepted)]
	if accepted != nil && op.Responses["200"] == nil && op.OperationID[:3] != "sub" {
		op.Responses["200"] = &huma.Response{Description: "Nothing was asked for: it is a dry run, or no letter could be.", Headers: accepted.Headers, Content: accepted.Content}
	}
	delete(op.Responses, "default")
}
