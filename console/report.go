package console

import (
	"archive/zip"
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tillgate/report"
)

func (a *API) usage(w http.ResponseWriter, r *http.Request) {
	since, err := parseSince(r, a.cfg.Clock())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if !a.takeTurn(w) {
		return
	}
	defer a.endTurn()
	u, err := report.CountUsage(r.Context(), a.cfg.Policy(), a.cfg.Journal.Digests, since)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	reply(w, u)
}

func (a *API) report(w http.ResponseWriter, r *http.Request) {
	now := a.cfg.Clock()
	since, err := parseSince(r, now)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	format := r.URL.Query().Get("format")
	switch format {
	case "", "json", "html", "csv":
	default:
		refuse(w, http.StatusBadRequest, fmt.Errorf("unknown format %q: json, html or csv", format))
		return
	}
	if !a.takeTurn(w) {
		return
	}
	defer a.endTurn()
	rep, err := report.Make(r.Context(), a.reportSource(since, now))
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	name := "tillgate-report-" + now.UTC().Format(time.DateOnly)
	switch format {
	case "html":
		var page bytes.Buffer
		rep.HTML(&page)
		// It has a style of its own, which this console's policy would not let it use.
		attach(w, "text/html; charset=utf-8", name+".html", page.Bytes())
	case "csv":
		packed, err := zipParts(rep.Parts())
		if err != nil {
			refuse(w, http.StatusInternalServerError, err)
			return
		}
		attach(w, "application/zip", name+".zip", packed)
	default:
		reply(w, rep)
	}
}

// reportSource is what the running box makes reports of.
func (a *API) reportSource(since, now time.Time) report.Source {
	status := a.cfg.Status()
	s := report.Source{
		Set:     a.cfg.Policy(),
		Origin:  "the files in " + status.Policy.Source,
		Now:     now,
		Since:   since,
		Running: "tillgate " + status.Version + ", up since " + status.Started.UTC().Format(time.DateTime) + "Z",
		Digests: a.cfg.Journal.Digests,
		Verify:  a.cfg.Journal.Verify,
		Oldest:  status.Journal.Oldest,
	}
	if status.Policy.Source == "embedded" {
		s.Origin = "the embedded defaults"
	}
	if status.Policy.Error != "" {
		s.Drift = append(s.Drift, "the policy's files are not in force: "+status.Policy.Error)
	}
	for _, p := range status.Parts {
		switch p.Name {
		case "settings":
			s.Drift = append(s.Drift, p.Text)
		case "time":
			s.Time = p.Text
		}
	}
	return s
}

func attach(w http.ResponseWriter, kind, name string, content []byte) {
	answerNow(w)
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	w.Write(content)
}

// zipParts makes a file of each table.
func zipParts(parts []report.Part) ([]byte, error) {
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	for _, p := range parts {
		f, err := z.Create(p.ID + ".csv")
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(p.CSV()); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// parseSince reads the parameter since: a time in the form of RFC 3339, or how long ago
// that is, as 90d or 1h30m.
func parseSince(r *http.Request, now time.Time) (time.Time, error) {
	v := r.URL.Query()
	text := v.Get("since")
	if err := known(v, "since", "format"); err != nil || text == "" {
		return now.Add(-report.DefaultSince), err
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	return now, fmt.Errorf("since %q is neither a time in the form of RFC 3339 nor how long ago, as 90d or 1h", text)
}
