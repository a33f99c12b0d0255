package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// pageFiles is the page: static files, as they were written.
//
//go:embed web
var pageFiles embed.FS

// pageTypes are the Content-Types of the page's files, by their ends. A file of any
// other end is not served: it is for who reads the source.
var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// A pageFile is what a path is answered with.
type pageFile struct {
	text       []byte
	kind, etag string
}

// Page returns the handler of the console's page, which asks an [API] at the same
// address and loads nothing from elsewhere. Browsers keep its files, and ask each time
// whether they have changed.
func Page() http.Handler {
	files := make(map[string]pageFile)
	err := fs.WalkDir(pageFiles, "web", func(name string, d fs.DirEntry, err error) error {
		kind := pageTypes[path.Ext(name)]
		if err != nil || d.IsDir() || kind == "" {
			return err
		}
		text, err := pageFiles.ReadFile(name)
		sum := sha256.Sum256(text)
		files[strings.TrimPrefix(name, "web")] = pageFile{text, kind, `"` + hex.EncodeToString(sum[:12]) + `"`}
		return err
	})
	if err != nil {
		panic(fmt.Errorf("reading what was compiled in: %w", err))
	}
	files["/"] = files["/index.html"]
	delete(files, "/index.html") // one address is enough
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.kind)
		h.Set("ETag", f.etag)
		h.Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.text))
	})
}
