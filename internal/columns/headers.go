package columns

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"

	"github.com/layby-go/layby"
)

// headersFormat is the first byte of encoded headers.
const headersFormat = 1

var errHeaders = errors.New("headers are not in the encoding of the store")

// EncodeHeaders keeps headers exactly: their order, repeated keys, nil and empty values. No headers are nil.
func EncodeHeaders(hs []layby.Header) []byte {
	if len(hs) == 0 {
		return nil
	}
	size := 1
	for i := range hs {
		size += 2*binary.MaxVarintLen32 + len(hs[i].Key) + len(hs[i].Value)
	}
	b := append(make([]byte, 0, size), headersFormat)
	for i := range hs {
		b = binary.AppendUvarint(b, uint64(len(hs[i].Key)))
		b = append(b, hs[i].Key...)
		if hs[i].Value == nil {
			b = append(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(hs[i].Value))+1)
		b = append(b, hs[i].Value...)
	}
	return b
}

// DecodeHeaders reads what EncodeHeaders wrote. The values share the memory of b.
func DecodeHeaders(b []byte) ([]layby.Header, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if b[0] != headersFormat {
		return nil, errHeaders
	}
	var hs []layby.Header
	for b = b[1:]; len(b) > 0; {
		var key, value []byte
		var ok bool
		if key, b, ok = chunk(b, 0); !ok {
			return nil, errHeaders
		}
		if value, b, ok = chunk(b, 1); !ok {
			return nil, errHeaders
		}
		hs = append(hs, layby.Header{Key: string(key), Value: value})
	}
	return hs, nil
}

// chunk reads a length, which is written with an offset so that a smaller number means nil, and that many bytes.
func chunk(b []byte, offset uint64) (data, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return nil, nil, false
	}
	b = b[size:]
	if n < offset {
		return nil, b, true
	}
	n -= offset
	if n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

type readableHeader struct {
	Key    string  `json:"key"`
	Value  *string `json:"value"`
	Base64 string  `json:"base64,omitempty"`
}

// ReadableHeaders shows headers as JSON that a jsonb column accepts. A value that is not text is shown in base64.
func ReadableHeaders(hs []layby.Header) string {
	out := make([]readableHeader, len(hs))
	for i := range hs {
		out[i].Key = Text(hs[i].Key, 0)
		if hs[i].Value == nil {
			continue
		}
		if out[i].Value = Readable(hs[i].Value); out[i].Value == nil {
			out[i].Base64 = base64.StdEncoding.EncodeToString(hs[i].Value)
		}
	}
	b, err := json.Marshal(out)
	if err != nil { // strings and slices of them always encode
		return "[]"
	}
	return string(b)
}
