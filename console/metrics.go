package console

import (
	"net/http"
	"runtime"

	"tillgate/decision"
)

// metricsType is that of the text format.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// metrics serves numbers for Prometheus. They tell nothing of clients and of the names
// that they asked for, so the machine itself needs no login; others have HTTP Basic, with
// the console's password and any name.
func (w *web) metrics(s *site) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		if s.secure && !w.mayScrape(rw, r, s) {
			return
		}
		rw.Header().Set("Content-Type", metricsType)
		rw.Write(appendMetrics(nil, w.status(), w.cfg.Decided())) // fails only when nobody listens
	}
}

// mayScrape refuses who has neither a session nor the password.
func (w *web) mayScrape(rw http.ResponseWriter, r *http.Request, s *site) bool {
	if _, in := w.lock.sessions.use(tokenOf(s, r)); in {
		return true
	}
	rw.Header().Set("WWW-Authenticate", `Basic realm="tillgate", charset="UTF-8"`)
	_, password, given := r.BasicAuth()
	if !given {
		refuse(rw, http.StatusUnauthorized, errPasswordNeeded)
		return false
	}
	err := w.lock.look(r.Context(), clientOf(r), password)
	switch err {
	case nil:
		rw.Header().Del("WWW-Authenticate")
		return true
	case errWrongPassword:
		refuse(rw, http.StatusUnauthorized, err)
	default:
		refuseLogin(rw, err)
	}
	return false
}

const errPasswordNeeded = textError("give the console's password by HTTP Basic, with any name")

// The words of states, of which one is so.
var (
	partStates  = []string{decision.OK.String(), decision.Warn.String(), decision.Bad.String()}
	clockLevels = []string{"none", "coarse", "fine"}
)

// appendMetrics appends the metrics to b.
func appendMetrics(b []byte, s Status, decided []decision.Decided) []byte {
	e := &exposition{b}
	e.family("tillgate_build_info", gauge, "The program that runs.")
	e.sample("tillgate_build_info", 1, "version", s.Version)
	e.one("tillgate_uptime_seconds", gauge, "Time since the box started.", s.Uptime)
	e.one("tillgate_goroutines", gauge, "What the program does at once: some for each connection.", float64(runtime.NumGoroutine()))
	e.family("tillgate_part_state", gauge, "Which state a part of the box is in: 1 for that, 0 for the others.")
	for _, p := range s.Parts {
		e.is("tillgate_part_state", "state", p.State, partStates, "part", p.Name)
	}
	e.family("tillgate_decisions_total", counter, "Attempts, by the plane that decided them, the verdict and its reason.")
	for _, d := range decided {
		e.sample("tillgate_decisions_total", float64(d.Attempts), "plane", d.Plane.String(), "verdict", d.Verdict.String(), "reason", d.Reason.String())
	}
	e.policy(s.Policy)
	e.dns(s.DNS)
	e.proxy(s.Proxy)
	e.time(s.Time)
	e.journal(s.Journal)
	return e.b
}

func (e *exposition) policy(s PolicyStatus) {
	e.family("tillgate_policy_info", gauge, "The policy in force.")
	e.sample("tillgate_policy_info", 1, "policy", s.ID, "mode", s.Mode)
	refused := 0.0
	if s.Error != "" {
		refused = 1
	}
	e.one("tillgate_policy_files_refused", gauge, "Whether the files are bad, so that an older policy is in force.", refused)
	e.one("tillgate_policy_observed_classes", gauge, "Classes that are let through for a while.", float64(len(s.Observed)))
}

func (e *exposition) dns(s DNSCounts) {
	e.one("tillgate_dns_queries_total", counter, "Queries that came in.", float64(s.Queries))
	e.one("tillgate_dns_denied_queries_total", counter, "Queries that the policy denied.", float64(s.Denied))
	e.family("tillgate_dns_cache_answers_total", counter, "Queries answered from the cache, by the answer's age: fresh, or stale while the upstream failed.")
	e.sample("tillgate_dns_cache_answers_total", float64(s.Hits), "age", "fresh")
	e.sample("tillgate_dns_cache_answers_total", float64(s.Stale), "age", "stale")
	e.one("tillgate_dns_cache_misses_total", counter, "Queries that the upstream was asked for.", float64(s.Misses))
	e.one("tillgate_dns_failed_queries_total", counter, "Queries answered that there is no answer.", float64(s.Failed))
	e.one("tillgate_dns_dropped_queries_total", counter, "Queries without an answer: over the rate, of a stranger, no DNS.", float64(s.Dropped))
	e.one("tillgate_dns_unsent_replies_total", counter, "Replies that the kernel did not take.", float64(s.Unsent))
	e.one("tillgate_dns_cache_entries", gauge, "Answers in the cache.", float64(s.Cached))
	e.one("tillgate_dns_waiting_queries", gauge, "Queries that wait for the upstream.", float64(s.Waiting))
	e.one("tillgate_upstream_exchanges_total", counter, "Exchanges with the DNS over HTTPS server.", float64(s.Exchanges))
	e.one("tillgate_upstream_failed_exchanges_total", counter, "Exchanges without a good answer.", float64(s.Failures))
}

func (e *exposition) proxy(s ProxyCounts) {
	e.one("tillgate_proxy_connections_total", counter, "Connections that clients made, redirected ones too.", float64(s.Connections))
	e.one("tillgate_proxy_refused_connections_total", counter, "Connections closed at once: one too many, or a stranger's.", float64(s.Refused))
	e.family("tillgate_proxy_attempts_total", counter, "Attempts to reach a destination, by what became of them.")
	e.sample("tillgate_proxy_attempts_total", float64(s.Allowed), "outcome", "connected")
	e.sample("tillgate_proxy_attempts_total", float64(s.Denied), "outcome", "denied")
	e.sample("tillgate_proxy_attempts_total", float64(s.Failed), "outcome", "failed")
	e.family("tillgate_proxy_bytes_total", counter, "Bytes in tunnels that have ended: up from the clients, down to them.")
	e.sample("tillgate_proxy_bytes_total", float64(s.Up), "direction", "up")
	e.sample("tillgate_proxy_bytes_total", float64(s.Down), "direction", "down")
	e.one("tillgate_proxy_waiting_connections", gauge, "Connections that have asked for nothing yet.", float64(s.Waiting))
	e.one("tillgate_proxy_tunnels", gauge, "Tunnels that are open.", float64(s.Tunnels))
}

func (e *exposition) time(s TimeStatus) {
	e.family("tillgate_clock_level", gauge, "How far the time is believed: 1 for that level, 0 for the others.")
	e.is("tillgate_clock_level", "level", s.Level, clockLevels)
	if s.ErrorMs > 0 {
		e.one("tillgate_clock_error_seconds", gauge, "The time is off by no more than that. Absent while that is not known.", s.ErrorMs/1000)
	}
	e.one("tillgate_ntp_requests_total", counter, "Requests for the time.", float64(s.Requests))
	e.family("tillgate_ntp_replies_total", counter, "Replies to them: with the time, or that it is not known.")
	e.sample("tillgate_ntp_replies_total", float64(s.Answered), "content", "time")
	e.sample("tillgate_ntp_replies_total", float64(s.NoTime), "content", "none")
	e.one("tillgate_ntp_denied_requests_total", counter, "Requests that the policy denied.", float64(s.Denied))
	e.one("tillgate_ntp_dropped_requests_total", counter, "Requests without a reply: too often, or no NTP.", float64(s.Dropped))
}

func (e *exposition) journal(s JournalCounts) {
	e.one("tillgate_journal_records_total", counter, "Records written, or waiting to be.", float64(s.Records))
	e.one("tillgate_journal_repeats_total", counter, "Attempts counted in the record of another.", float64(s.Repeats))
	e.one("tillgate_journal_dropped_attempts_total", counter, "Attempts without a record, for want of memory.", float64(s.Dropped))
	e.one("tillgate_journal_segments", gauge, "Files of the journal.", float64(s.Segments))
	e.one("tillgate_journal_size_bytes", gauge, "Size of the journal on the disk.", float64(s.Bytes))
	if !s.Oldest.IsZero() {
		e.one("tillgate_journal_oldest_timestamp_seconds", gauge, "When the oldest record that is kept was written.", float64(s.Oldest.Unix()))
	}
}
