package decision

import (
	"net/netip"
	"time"

	"tillgate/policy"
)

// Event is what a record tells when it is no decision. The empty event is a decision.
type Event string

// The events.
const (
	EventOpen   Event = "open"   // a tunnel was opened
	EventClose  Event = "close"  // a tunnel, or an exchange by HTTP, has ended
	EventChange Event = "change" // a policy was read, good or bad; on plane system, what an admin set
	EventGap    Event = "gap"    // records are missing, and how many
	EventStart  Event = "start"
	EventStop   Event = "stop"
	EventHealth Event = "health" // a part of the box failed, or is well again
	EventPrune  Event = "prune"  // segments were deleted
	EventLogin  Event = "login"  // somebody tried the password of the console
	EventTime   Event = "time"   // what is known of the time, or of whom it comes from, has changed
)

// A Record is one line of the journal. Zero fields are absent in it, but for
// the verdict, which is absent on the planes that decide nothing.
//
// Planes fill in what they know; Time, Seq, Boot, UntrustedTime and Policy are the
// journal's to fill.
type Record struct {
	Time          time.Time // UTC
	Seq           uint64    // from 1, over restarts
	Boot          string    // one run of the box
	UntrustedTime bool      // Time is below coarse trust
	Plane         policy.Plane
	Event         Event
	Verdict       policy.Verdict
	Reason        policy.Reason
	Client        netip.Addr
	Class         string
	Name          string // as asked for; may hold any byte that came over the wire
	Port          uint16
	Proto         policy.Proto
	Qtype         string
	Rcode         string
	Service       string
	Row           int
	Rule          string    // file:line
	Policy        string    // first 12 hex digits of the policy's hash
	Count         uint64    // how many attempts this record stands for, when more than its own
	Until         time.Time // the last of them; of event health: until when it was as before
	Dest          netip.AddrPort
	Answers       []netip.Addr
	CNAME         []string
	Up, Down      uint64  // bytes
	Ms            float64 // how long the client waited, or the tunnel lived
	OffsetMs      float64 // the client's clock against ours
	Stale         bool
	By            string // who did it: a user, or the side that closed
	Detail        string
}

// A Key tells which decisions, and which ends of exchanges by HTTP, are repeats of
// each other: within the window only the first is written in full, the rest are counted.
type Key struct {
	Plane   policy.Plane
	Event   Event
	Verdict policy.Verdict
	Reason  policy.Reason
	Client  netip.Addr
	Name    string
	Port    uint16
	Proto   policy.Proto
	Qtype   string
	Rcode   string
	Stale   bool
	By      string
	Dest    netip.AddrPort // of the firewall, which knows no names
}

// Key returns what the record is a repeat by.
func (r *Record) Key() Key {
	k := Key{Plane: r.Plane, Event: r.Event, Verdict: r.Verdict, Reason: r.Reason, Client: r.Client, Name: r.Name,
		Port: r.Port, Proto: r.Proto, Qtype: r.Qtype, Rcode: r.Rcode, Stale: r.Stale, By: r.By}
	if r.Plane == policy.Firewall {
		k.Dest = r.Dest
	}
	return k
}

// counted reports whether repeats of the record are counted. Those of decisions are; and
// those of the ends of exchanges by HTTP, which are as many; and tried passwords.
func (r *Record) counted() bool {
	return r.Event == "" || r.Event == EventClose && r.Plane == policy.HTTP || r.Event == EventLogin
}

// attempts is how many attempts, or events, the record stands for.
func (r *Record) attempts() uint64 { return max(r.Count, 1) }
