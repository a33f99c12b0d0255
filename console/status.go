package console

import (
	"net/netip"
	"time"

	"tillgate/decision"
)

// Status is how the box is.
type Status struct {
	Version string        `json:"version"`
	Boot    string        `json:"boot"` // as in records
	Started time.Time     `json:"started"`
	Uptime  float64       `json:"uptime_s"`
	PID     int           `json:"pid"`
	State   string        `json:"state"` // the worst of the parts': ok, warn, bad
	Parts   []Part        `json:"parts"`
	Policy  PolicyStatus  `json:"policy"`
	Listen  []Listener    `json:"listen"`
	Folders Folders       `json:"folders"`
	DNS     DNSCounts     `json:"dns"`
	Proxy   ProxyCounts   `json:"proxy"`
	Time    TimeStatus    `json:"time"`
	Journal JournalCounts `json:"journal"`
}

// Part is a part of the box, as it says of itself.
type Part struct {
	Name  string    `json:"name"`
	State string    `json:"state"`
	Text  string    `json:"text,omitempty"`
	Since time.Time `json:"since"`
}

// PolicyStatus is which policy is in force.
type PolicyStatus struct {
	ID      string    `json:"id"`   // first 12 hex digits of the hash, as in records
	Hash    string    `json:"hash"` // SHA-256 over policy.yaml and every pack in force
	Source  string    `json:"source"`
	Mode    string    `json:"mode"`
	Packs   []string  `json:"packs"`
	Since   time.Time `json:"since"`            // when it came into force in this run
	Changes []string  `json:"changes,omitzero"` // from the one before, in words
	Error   string    `json:"error,omitempty"`  // what is wrong with the files, which are not in force

	Observed []Observation `json:"observed,omitempty"` // classes that are let through for a while
}

// Listener is an address that the box serves.
type Listener struct {
	Name string         `json:"name"` // key of listen in tillgate.yaml
	Addr netip.AddrPort `json:"addr"`
}

// Folders are where the box keeps its files.
type Folders struct {
	Config string `json:"config,omitempty"` // empty: embedded defaults
	State  string `json:"state"`
}

// DNSCounts are counts of queries since the start, unless they say otherwise.
type DNSCounts struct {
	Queries   uint64 `json:"queries"`
	Denied    uint64 `json:"denied"`
	Hits      uint64 `json:"hits"`  // answered from the cache, fresh
	Stale     uint64 `json:"stale"` // answered from the cache, past their end
	Misses    uint64 `json:"misses"`
	Failed    uint64 `json:"failed"`
	Dropped   uint64 `json:"dropped"` // without an answer
	Unsent    uint64 `json:"unsent"`  // answers that the kernel did not take
	Cached    int    `json:"cached"`  // answers, now
	Waiting   int    `json:"waiting"` // queries that wait for the upstream, now
	Exchanges uint64 `json:"exchanges"`
	Failures  uint64 `json:"failures"` // exchanges without a good answer
}

// ProxyCounts are counts of what clients asked the proxy for since the start, unless they
// say otherwise.
type ProxyCounts struct {
	Connections uint64 `json:"connections"` // that clients made
	Refused     uint64 `json:"refused"`     // of those, at once: one too many, or a stranger
	Allowed     uint64 `json:"allowed"`     // attempts that were connected
	Denied      uint64 `json:"denied"`      // attempts
	Failed      uint64 `json:"failed"`      // attempts that may pass, but could not be connected
	Up          uint64 `json:"up"`          // bytes, in tunnels that have ended
	Down        uint64 `json:"down"`        // as Up
	Fastest     uint64 `json:"fastest_bps"` // download that a tunnel has seen, in bits a second; 0: none
	Waiting     int    `json:"waiting"`     // connections that have asked for nothing yet, now
	Tunnels     int    `json:"tunnels"`     // now
}

// JournalCounts are the journal's numbers since the start, unless they say otherwise.
type JournalCounts struct {
	Records  uint64    `json:"records"`
	Repeats  uint64    `json:"repeats"`
	Dropped  uint64    `json:"dropped"`
	Segments int       `json:"segments"` // in the folder
	Bytes    int64     `json:"bytes"`    // in the folder
	Oldest   time.Time `json:"oldest,omitzero"`
}

// Parts turns what the parts say into their entries in a [Status], and tells
// the worst.
func Parts(health []decision.Health) (parts []Part, worst decision.State) {
	for _, h := range health {
		parts = append(parts, Part{Name: h.Part, State: h.State.String(), Text: h.Text, Since: h.Since})
		worst = max(worst, h.State)
	}
	return parts, worst
}
