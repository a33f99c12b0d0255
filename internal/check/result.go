package check

import (
	"errors"
	"net/netip"
	"strings"
	"time"
)

// Stage is the last step that was good.
type Stage string

// The stages. A destination that passed has Connected and more: see [Result.OK].
const (
	Resolved  Stage = "resolved"
	Connected Stage = "connected"
	Answered  Stage = "answered" // TLS with a good certificate, HTTP, or the time
)

// Fault is what stopped a test.
type Fault string

// The faults.
const (
	Denied      Fault = "denied"       // the policy does not let it through
	Stranger    Fault = "no-class"     // the box does not know this machine
	Untold      Fault = "untold"       // the box does not say as whom it knows this machine
	NoDNS       Fault = "no-dns"       // nobody answers DNS where the box should be
	Unresolved  Fault = "unresolved"   // the box could not ask its upstream
	NoName      Fault = "no-name"      // the upstream says that there is no such name, or no address
	PrivateAddr Fault = "private"      // the name leads to an address that is not of the Internet
	NoProxy     Fault = "no-proxy"     // nobody is a proxy where the box should be
	Busy        Fault = "busy"         // a limit of the box is reached
	Unreachable Fault = "unreachable"  // there is no way there
	Refused     Fault = "refused"      // the connection is refused
	TimedOut    Fault = "timed-out"    // nobody answers
	Broken      Fault = "broken"       // connected, then cut off or silent
	NotTLS      Fault = "not-tls"      // what answers does not speak TLS
	Intercepted Fault = "intercepted"  // the certificate is signed by somebody who is not trusted
	WrongName   Fault = "wrong-name"   // the certificate is another host's
	WrongDate   Fault = "wrong-date"   // the certificate is not valid at this time
	BadTLS      Fault = "bad-tls"      // the handshake failed otherwise
	Portal      Fault = "portal"       // HTTP leads to somebody else's page
	BadHTTP     Fault = "bad-http"     // what answers does not speak HTTP
	NoTime      Fault = "no-time"      // a time server does not answer
	TimeRefused Fault = "time-refused" // nobody serves the time there, or not to us
	Unsynced    Fault = "unsynced"     // a time server says that it does not know the time
	WrongTime   Fault = "wrong-time"   // its time is another
	UnknownTime Fault = "unknown-time" // the box does not know the time, so nothing can be resolved
	Interrupted Fault = "interrupted"  // the test was ended before
)

// A Result is how far a destination was reached.
type Result struct {
	Target
	OK     bool   `json:"ok"`
	Stage  Stage  `json:"stage,omitempty"` // empty: not even its name was resolved
	Fault  Fault  `json:"fault,omitempty"`
	Detail string `json:"detail,omitempty"` // of the fault; may be another's words
	Do     string `json:"do,omitempty"`     // about it

	Addresses []netip.Addr   `json:"addresses,omitempty"`
	Dest      netip.AddrPort `json:"dest,omitzero"` // that answered; via a box, the box's own
	ResolveMs float64        `json:"resolve_ms,omitzero"`
	ConnectMs float64        `json:"connect_ms,omitzero"`
	AnswerMs  float64        `json:"answer_ms,omitzero"` // the handshake, the request, the exchange

	Issuer   string    `json:"issuer,omitempty"` // who signed the certificate
	Expires  time.Time `json:"expires,omitzero"` // the certificate
	Status   int       `json:"status,omitzero"`  // of HTTP
	Stratum  int       `json:"stratum,omitzero"`
	OffsetMs *float64  `json:"offset_ms,omitempty"` // the server's time against that of the test
}

// Trouble is why a step failed.
type Trouble struct {
	Fault  Fault
	Detail string
}

func (e *Trouble) Error() string { return string(e.Fault) + ": " + e.Detail }

// troubleOf returns the trouble that an error is.
func troubleOf(err error) *Trouble {
	if t, ok := errors.AsType[*Trouble](err); ok {
		return t
	}
	return connectTrouble(err)
}

// maxDetail bounds what is told of another's words, in bytes.
const maxDetail = 300

// clip bounds a text.
func clip(text string) string {
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}
