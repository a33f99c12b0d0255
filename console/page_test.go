package console

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"tillgate/policy"
)

// askPage asks the page for a path; header are pairs.
func askPage(path string, header ...string) *http.Response {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Page().ServeHTTP(w, r)
	return w.Result()
}

func TestPage(t *testing.T) {
	for path, want := range map[string]string{
		"/":                      "text/html; charset=utf-8",
		"/app.js":                "text/javascript; charset=utf-8",
		"/style.css":             "text/css; charset=utf-8",
		"/icon.svg":              "image/svg+xml",
		"/vendor/uPlot.esm.js":   "text/javascript; charset=utf-8",
		"/vendor/uPlot.min.css":  "text/css; charset=utf-8",
		"/index.html":            "",
		"/vendor/":               "",
		"/vendor":                "",
		"/vendor/README":         "",
		"/vendor/../app.js":      "",
		"/web/app.js":            "",
		"/app.js/":               "",
		"/%2e%2e/console/api.go": "",
	} {
		got := askPage(path)
		if want == "" {
			if got.StatusCode != http.StatusNotFound {
				t.Errorf("%s: status %d", path, got.StatusCode)
			}
			continue
		}
		if kind := got.Header.Get("Content-Type"); got.StatusCode != http.StatusOK || kind != want {
			t.Errorf("%s: status %d, %s", path, got.StatusCode, kind)
		}
		again := askPage(path, "If-None-Match", got.Header.Get("ETag"))
		if again.StatusCode != http.StatusNotModified || again.Header.Get("ETag") != got.Header.Get("ETag") {
			t.Errorf("%s asked for again: status %d", path, again.StatusCode)
		}
	}
	r := httptest.NewRequest("POST", "/", nil)
	w := httptest.NewRecorder()
	if Page().ServeHTTP(w, r); w.Code == http.StatusOK {
		t.Error("a POST was answered with the page")
	}
}

// What the browser would refuse, or what would make markup of text, is not in the page;
// what it asks for is there.
func TestPageSource(t *testing.T) {
	asks := regexp.MustCompile(`(?:href|src)="(/[^"#]*)"|from "(\./[^"]*)"`)
	banned := regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://|<style|\sstyle=|\son[a-z]+="`)
	err := fs.WalkDir(pageFiles, "web", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(name, "web/vendor/") {
			return err
		}
		text, err := pageFiles.ReadFile(name)
		for _, m := range banned.FindAllString(strings.ReplaceAll(string(text), "http://www.w3.org/2000/svg", ""), -1) {
			t.Errorf("%s has %q", name, m)
		}
		for _, m := range asks.FindAllStringSubmatch(string(text), -1) {
			if wanted := path.Join("/", m[1]+m[2]); askPage(wanted).StatusCode != http.StatusOK {
				t.Errorf("%s asks for %s, which is not served", name, wanted)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The page has the words of the program.
func TestPageWords(t *testing.T) {
	text, err := pageFiles.ReadFile("web/words.js")
	if err != nil {
		t.Fatal(err)
	}
	words := string(text)
	for r := policy.Documented; r <= policy.TimeUntrusted; r++ {
		if line := `"` + r.String() + `": "` + r.Text() + `",`; !strings.Contains(words, line) {
			t.Errorf("words.js lacks %s", line)
		}
	}
	for p := policy.DNS; p <= policy.System; p++ {
		if !strings.Contains(words, "\t"+p.String()+": \"") {
			t.Errorf("words.js lacks the plane %s", p)
		}
	}
	if n := strings.Count(words, `": "`); n != int(policy.TimeUntrusted)+1 { // and would-deny
		t.Errorf("words.js has %d quoted words", n)
	}
}

// The libraries are what their note says they are.
func TestVendored(t *testing.T) {
	note, err := pageFiles.ReadFile("web/vendor/README")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"uPlot.esm.js", "uPlot.min.css"} {
		text, err := pageFiles.ReadFile("web/vendor/" + name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		if line := hex.EncodeToString(sum[:]) + "  dist/" + name; !strings.Contains(string(note), line) {
			t.Errorf("the note does not have %s", line)
		}
	}
}
