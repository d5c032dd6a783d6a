package admin

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// sharpen has the description say what each answer is: what huma makes of an operation does not know of the guard before it. The
// guard is told what huma does not look at.
func (a *API) sharpen() {
	for path, item := range a.huma.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post} {
			if op == nil {
				continue
			}
			sharpenOperation(op)
			if !strings.Contains(path, "{") {
				a.literal[path] = append(a.literal[path], op.Method)
			}
			for _, p := range op.Parameters {
				s := p.Schema
				if p.In == "query" && (s.Type != huma.TypeString || s.Format != "" || len(s.Enum) > 0) {
					a.filled[op.Method+" "+path] = append(a.filled[op.Method+" "+path], p.Name)
				}
			}
		}
	}
}

func sharpenOperation(op *huma.Operation) {
	accepted := op.Responses[strconv.Itoa(http.StatusAccepted)]
	if accepted != nil && op.Responses["200"] == nil && op.RequestBody != nil && strings.HasSuffix(op.OperationID, "-dead-letters") {
		op.Responses["200"] = &huma.Response{Description: "Nothing was asked for: it is a dry run, or no letter could be.", Headers: accepted.Headers, Content: accepted.Content}
	}
	op.Responses[strconv.Itoa(http.StatusRequestHeaderFieldsTooLarge)] = &huma.Response{
		Description: "The request's line and headers are too large to be read.",
		Content:     map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}
	delete(op.Responses, "default")
}
