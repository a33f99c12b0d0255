package policy

// Reason says why a verdict is what it is. The list is closed: records,
// reports and filters know every value of it.
type Reason uint8

// The reasons. The zero value is none, and is absent in records.
const (
	NoReason        Reason = iota
	Documented             // a rule of the provider's document allows it
	LocalService           // a rule of the store's own, or a name of the box itself
	NotDocumented          // no rule names it
	OtherClass             // a rule names it, but not for this class
	PortNotAllowed         // the name is allowed, the port is not
	DeniedByPolicy         // a deny rule names it
	Expired                // a rule allowed it until a time that has passed
	UnknownClient          // the client is in no class
	BadName                // no host name (RFC 1123, underscores allowed)
	IPLiteral              // an address where a name must stand
	PrivateAddress         // the name leads to a special-purpose address
	SNIMismatch            // SNI is not the CONNECT host
	HostMismatch           // Host is not the CONNECT host or the request's target
	NoSNI                  // a ClientHello without server_name
	NoHello                // nothing was said in time
	NotTLS                 // the first bytes are neither TLS nor HTTP, or not what the port is for
	RateLimited            // the client's rate is used up
	LimitReached           // a table or a cap is full
	QtypeSuppressed        // the name is allowed, this type of record is not given
	FirewallReject         // the packet filter refused it
	Spoofed                // a source that does not belong to its interface
	Malformed              // the bytes break the protocol
	TimeUntrusted          // the box does not know the time well enough
)

var reasons = [...]struct{ name, text string }{
	NoReason:        {"", ""},
	Documented:      {"documented", "in the provider's document"},
	LocalService:    {"local-service", "a service of the store's own"},
	NotDocumented:   {"not-documented", "no rule names it"},
	OtherClass:      {"other-class", "documented, but not for this class of device"},
	PortNotAllowed:  {"port", "the name is allowed, but not on this port"},
	DeniedByPolicy:  {"denied-by-policy", "a deny rule names it"},
	Expired:         {"expired", "the rule that allowed it has ended"},
	UnknownClient:   {"unknown-client", "this client's address is in no class"},
	BadName:         {"bad-name", "not a valid host name"},
	IPLiteral:       {"ip-literal", "an address where a name must stand"},
	PrivateAddress:  {"private-address", "the name leads to a private or special address"},
	SNIMismatch:     {"sni-mismatch", "the TLS server name is not the host that was asked for"},
	HostMismatch:    {"host-mismatch", "the Host header is not the host that was asked for"},
	NoSNI:           {"no-sni", "the TLS hello names no server"},
	NoHello:         {"no-hello", "nothing was said in time"},
	NotTLS:          {"not-tls", "not what the port is for"},
	RateLimited:     {"rate", "too many requests from this client"},
	LimitReached:    {"limit", "a limit of the box is reached"},
	QtypeSuppressed: {"qtype", "this type of record is not given"},
	FirewallReject:  {"firewall", "refused by the firewall"},
	Spoofed:         {"spoofed", "the source address does not belong to this interface"},
	Malformed:       {"malformed", "not well-formed"},
	TimeUntrusted:   {"time-untrusted", "the box does not know the time yet"},
}

// String is the reason as records spell it.
func (r Reason) String() string { return reasons[r].name }

// Text is the reason for people, without a full stop.
func (r Reason) Text() string { return reasons[r].text }

// ParseReason is the inverse of [Reason.String].
func ParseReason(s string) (Reason, bool) {
	for i, n := range reasons {
		if n.name == s {
			return Reason(i), true
		}
	}
	return 0, false
}

// Observable reports whether observe mode lets an attempt pass that is denied for this
// reason, to where its name leads. The guards (addresses, protocols, limits) stay on.
//
// An attempt that names no host that could be judged ([NoSNI], [NoHello], [NotTLS],
// [IPLiteral], [BadName]) has no such place. Package proxy lets a redirected one go where
// the client itself wanted to; where that is not known it is denied.
func (r Reason) Observable() bool {
	switch r {
	case NotDocumented, OtherClass, PortNotAllowed, DeniedByPolicy, Expired:
		return true
	}
	return false
}
