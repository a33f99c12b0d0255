// Package console is the box's API: how it is, what it decides and why. So far
// it serves the command line, by HTTP over a unix socket.
//
//	GET /v1/status                                     the parts' health, the policy, numbers
//	GET /v1/policy                                     what is in force
//	GET /v1/policy/files                               the files that it was made of
//	GET /v1/explain?client=&name=&port=&proto=&plane=  a verdict and why
//	GET /v1/log?since=&until=&client=&class=&name=&plane=&verdict=&follow=1
//	GET /v1/events?since=&after=&client=&class=&name=&plane=&verdict=&last=
//	GET /v1/overview                                   how it is, what is blocked, traffic by hour
//	GET /v1/usage?since=                               how often each rule was used
//	GET /v1/report?since=&format=json|html|csv         for the auditor; csv is a zip of tables
//	POST /v1/observe {"class": "pos", "for": "2h", "reason": "..."}
//	POST /v1/time/reset {}
//	POST /v1/check {"class": "", "via": "", "speed": ""}  each documented destination, tried
//	GET /v1/firewall?have=                             the rules of the packet filter
//	POST /v1/firewall/records                          what it refused, a record a line
//	POST /v1/console/password {"hash": "..."}          of the console, at the socket alone
//	GET /v1/session                                    who is logged in, by TCP alone
//	POST /v1/login {"password": "..."}                 by TCP alone
//	POST /v1/logout {}                                 by TCP alone
//	GET /metrics                                       numbers for Prometheus, by TCP alone
//
// Each but the log, the events, the check and the report answers with one JSON object, an error
// with {"error": "..."}.
// The log is a stream of lines: the journal's records as they are written, and
// {"error": "..."} for what could not be read; with progress=1 also {"progress": {...}}, how
// many bytes were gone through and how many there are. A stream that is complete ends
// properly, one that breaks does not. The events are the same log for browsers, followed
// as Server-Sent Events: the id of each is the record's seq and boot (17-3f0a...), from which
// Last-Event-ID or after goes on; "gap" events tell what was missed, "damage" events what can't be read.
// The check is a stream of lines, too: {"plan": {...}}, a {"result": {...}} each as they come, and
// {"verdict": {...}} at the end, or {"error": "..."} where it was cut short.
//
// Who may use the socket may look, and have it checked. To change what the box does is for root and the
// user that it runs as. By TCP, see [WebConfig], it is for who has logged in; who looks without a
// password may have the policy's destinations checked, one test at a time.
package console

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"tillgate/decision"
	"tillgate/internal/check"
	"tillgate/policy"
)

// Config is what the API tells of.
type Config struct {
	Socket  string             // path of the unix socket
	Status  func() Status      // how the box is now
	Policy  func() *policy.Set // the policy in force
	Now     func() time.Time   // trusted time, as in [policy.Request]
	Clock   func() time.Time   // the best estimate of the time, as in records
	Journal Journal
	// Observe lets a class through for a while, as [policy.Store.Observe] does.
	Observe func(context.Context, policy.ObserveRequest) (policy.Observation, error)
	// ResetTime forgets what was known of the time; by is the user who asks.
	ResetTime func(ctx context.Context, by string) (TimeReset, error)
	Firewall  Firewall
	// Check tests the documented destinations and hands out each line of that, as
	// [check.Checker.Run] does. An error before the first is that of the request.
	Check func(ctx context.Context, req check.Request, emit func(check.Line) error) error
	Web   WebConfig
	Log   *slog.Logger
}

// maxStreams is how many logs are read at once: each takes a processor while
// it goes through the past.
const maxStreams = 8

// API answers requests. It knows nothing of the transport.
type API struct {
	cfg      Config
	mux      *http.ServeMux
	streams  chan struct{} // a token for each reading of the journal, but for overviews
	checks   chan struct{} // a token for each test of the destinations
	looking  chan struct{} // a token for that of who only looks
	stopping context.Context
	looked   looked
}

// NewAPI returns the API's handler. Logs that are followed end properly when
// stopping ends.
func NewAPI(stopping context.Context, cfg Config) *API {
	a := &API{cfg: cfg, mux: http.NewServeMux(), streams: make(chan struct{}, maxStreams), checks: make(chan struct{}, maxChecks), looking: make(chan struct{}, 1), stopping: stopping}
	a.mux.HandleFunc("GET /v1/status", a.status)
	a.mux.HandleFunc("GET /v1/policy", a.policy)
	a.mux.HandleFunc("GET /v1/policy/files", a.policyFiles)
	a.mux.HandleFunc("GET /v1/explain", a.explain)
	a.mux.HandleFunc("GET /v1/log", a.log)
	a.mux.HandleFunc("GET /v1/events", a.events)
	a.mux.HandleFunc("GET /v1/overview", a.overview)
	a.mux.HandleFunc("GET /v1/usage", a.usage)
	a.mux.HandleFunc("GET /v1/report", a.report)
	a.mux.HandleFunc("POST /v1/observe", a.observe)
	a.mux.HandleFunc("POST /v1/time/reset", a.resetTime)
	a.mux.HandleFunc("POST /v1/check", a.check)
	a.mux.HandleFunc("GET /v1/firewall", a.firewall)
	a.mux.HandleFunc("POST /v1/firewall/records", a.firewallRecords)
	return a
}

func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

func (a *API) status(w http.ResponseWriter, r *http.Request) { reply(w, a.cfg.Status()) }

func (a *API) policy(w http.ResponseWriter, r *http.Request) {
	reply(w, DescribePolicy(a.cfg.Policy()))
}

func (a *API) explain(w http.ResponseWriter, r *http.Request) {
	q, err := ParseQuestion(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	reply(w, Explain(a.cfg.Policy(), q, a.cfg.Now()))
}

func (a *API) log(w http.ResponseWriter, r *http.Request) {
	q, err := ParseLogQuery(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	out := newLines(w, "application/x-ndjson")
	if q.Steps {
		q.Progress = out.progress
	}
	a.stream(w, r, q, out)
}

// takeTurn takes one of the places of those who have the journal read, be it for a log, a
// report or the use of rules: each takes a processor for a while. If it is not true, the
// request has been refused.
func (a *API) takeTurn(w http.ResponseWriter) bool {
	select {
	case a.streams <- struct{}{}:
		return true
	default:
		refuse(w, http.StatusServiceUnavailable, decision.ErrTooMany)
		return false
	}
}

func (a *API) endTurn() { <-a.streams }

// An answer is a sink that can tell whether anything of it was sent.
type answer interface {
	sink
	hasBegun() bool
}

// stream gives the journal to a client, one of a bounded number. What goes wrong is
// told in the way that is left: by a status, or by a stream that breaks off.
func (a *API) stream(w http.ResponseWriter, r *http.Request, q LogQuery, out answer) {
	if !a.takeTurn(w) {
		return
	}
	defer a.endTurn()
	err := read(r.Context(), a.stopping, a.cfg.Journal, q, out)
	if err == nil {
		err = out.flush()
	}
	switch {
	case err == nil:
	case !out.hasBegun():
		status := http.StatusInternalServerError
		if errors.Is(err, decision.ErrTooMany) || errors.Is(err, decision.ErrClosed) {
			status = http.StatusServiceUnavailable
		}
		refuse(w, status, err)
	default:
		if r.Context().Err() == nil {
			a.cfg.Log.Warn("a log was cut off", "err", err)
			out.damage(err)
		}
		out.flush()
		panic(http.ErrAbortHandler) // so that the stream does not look complete
	}
}

func reply(w http.ResponseWriter, v any) {
	answerNow(w)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // fails only when nobody listens
}

// answerNow gives an answer the time to be written, however long it took to find it: a report on
// a small router, the last of some logins.
func answerNow(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeWithin))
}

// failure is what an error is told as.
type failure struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, status int, err error) {
	answerNow(w)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(failure{err.Error()})
}
