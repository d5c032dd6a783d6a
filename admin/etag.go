package admin

import (
	"strconv"
)

// etag is a version as HTTP writes it.
func etag(version int) string { return `"` + strconv.Itoa(version) + `"` }
