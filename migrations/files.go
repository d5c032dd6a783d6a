package migrations

import (
	"bytes"
	"embed"
	"io/fs"
)

//go:embed sql/*.sql
var embedded embed.FS

// rendered shows the numbered files with the schema's name filled in.
type rendered struct{ schema string }

// Glob implements fs.GlobFS.
func (r rendered) Glob(pattern string) ([]string, error) {
	sub, err := fs.Sub(embedded, "sql")
	if err != nil {
		return nil, err
	}
	return fs.Glob(sub, pattern)
}

// Open implements fs.FS.
func (r rendered) Open(name string) (fs.File, error) {
	f, err := embedded.Open("sql/" + name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	sql, err := embedded.ReadFile("sql/" + name)
	if err != nil {
		return nil, err
	}
	return &file{Reader: bytes.NewReader([]byte(Render(string(sql), r.schema))), info: info}, nil
}

type file struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }
