package console

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tillgate/policy"
	"tillgate/report"
)

func TestReport(t *testing.T) {
	set := storeSet(t)
	status := Status{Version: "v1", Parts: []Part{{Name: "time", Text: "fine: 3 of 3 time servers agree"}, {Name: "settings", Text: "tillgate.yaml has changed"}},
		Policy: PolicyStatus{Source: "/etc/tillgate", Error: "policy.yaml:3: bad"}}
	a := NewAPI(context.Background(), Config{Journal: &past{}, Policy: func() *policy.Set { return set },
		Clock: func() time.Time { return noon }, Status: func() Status { return status }})
	ask := func(query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest("GET", "/v1/report?"+query, nil))
		return w
	}
	var rep report.Report
	if w := ask("since=30d"); w.Code != 200 || json.Unmarshal(w.Body.Bytes(), &rep) != nil {
		t.Fatal(w.Code, w.Body)
	}
	if want := noon.AddDate(0, 0, -30); !rep.Since.Equal(want) || rep.Policy.ID != set.ID() || rep.Policy.Origin != "the files in /etc/tillgate" ||
		len(rep.Policy.Drift) != 2 || rep.Time != "fine: 3 of 3 time servers agree" || rep.Running == "" || rep.Journal.Checked.Segments != 2 {
		t.Errorf("%+v", rep)
	}

	// What a browser gets is a file: the page has a style of its own.
	w := ask("format=html")
	if kind, as := w.Header().Get("Content-Type"), w.Header().Get("Content-Disposition"); kind != "text/html; charset=utf-8" ||
		as != `attachment; filename="tillgate-report-2026-11-22.html"` || !strings.Contains(w.Body.String(), "pay.acme.example") {
		t.Errorf("%s, %s", kind, as)
	}
	w = ask("format=csv")
	z, err := zip.NewReader(bytes.NewReader(w.Body.Bytes()), int64(w.Body.Len()))
	if err != nil || len(z.File) != len(rep.Parts()) || z.File[1].Name != "rules.csv" {
		t.Errorf("csv: %v", err)
	}
	if w := ask("format=pdf"); w.Code != 400 {
		t.Errorf("pdf: %d", w.Code)
	}

	// Reports and logs that are read at once share a bound.
	for range maxStreams {
		a.streams <- struct{}{}
	}
	if w := ask(""); w.Code != 503 {
		t.Errorf("one too many: %d", w.Code)
	}
}

// What goes through the journal does so at eight places at once, for whoever it is.
func TestTurns(t *testing.T) {
	a := NewAPI(t.Context(), Config{Journal: &past{}, Clock: func() time.Time { return noon }})
	for range maxStreams {
		a.streams <- struct{}{}
	}
	for _, target := range []string{"/v1/log", "/v1/events", "/v1/usage", "/v1/report"} {
		w := httptest.NewRecorder()
		if a.ServeHTTP(w, httptest.NewRequest("GET", target, nil)); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: status %d", target, w.Code)
		}
	}
}
