package proxy

import (
	"bytes"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"tillgate/policy"
)

const (
	// maxHead bounds the head of a request: its first line and all fields, in bytes.
	maxHead = 16 << 10
	// maxFields bounds the number of fields.
	maxFields = 100
	// maxMethod bounds the method's length; the longest registered one has 17 bytes.
	maxMethod = 24
	// maxLength bounds Content-Length, in digits, so that it fits an int64.
	maxLength = 18
)

// A head is what the head of a request tells of how the connection goes on.
type head struct {
	connect bool
	target  string // as the request line has it
	chunked bool
	length  int64 // of the body, where it is not chunked
}

// A fault is why a request gets no further than the gate. The name and the port are
// what the client asked for, as far as that could be read.
type fault struct {
	plane  policy.Plane
	name   string
	port   uint16        // 0: the standard one
	reason policy.Reason // none: the name is no host name, and the policy says why
	detail string
}

func (f *fault) Error() string { return "refused by the gate: " + f.detail }

// A headReader is a head while it is read.
type headReader struct {
	head
	method, version string

	asked    authority // that of the target
	absolute bool      // the target is a URL
	scheme   string    // of the URL

	hosts, lengths, codings, expects []string // the values of fields that count
	fields                           int
}

// parseHead reads the head of an HTTP/1 request (RFC 9112), up to its empty line. It
// passes less than the RFC lets a server pass: nothing about which two programs could
// disagree where the request ends or whom it is for. What it passes, net/http takes
// too, and in the same sense.
//
// A client that is unaware of the proxy must name its host in Host, where else it may mean
// the box itself. An address is no name, but for the box's own.
func parseHead(raw []byte, unaware bool, box netip.Addr) (head, *fault) {
	var r headReader
	lines := bytes.Split(raw, []byte("\r\n"))
	detail := r.line(string(lines[0]))
	for _, line := range lines[1:] {
		if detail != "" || len(line) == 0 {
			break
		}
		detail = r.field(string(line))
	}
	if detail == "" {
		detail = r.framing()
	}
	if detail != "" {
		return head{}, r.fault(policy.Malformed, detail)
	}
	if reason, detail := r.destination(unaware, box); detail != "" {
		return head{}, r.fault(reason, detail)
	}
	return r.head, nil
}

// brokenHead is the fault of what is not even a head. Its first line may tell the rest.
func brokenHead(raw []byte, reason policy.Reason, detail string) *fault {
	if i := bytes.IndexAny(raw, "\r\n"); i >= 0 {
		raw = raw[:i]
	}
	var r headReader
	r.line(string(raw))
	return r.fault(reason, detail)
}

func (r *headReader) fault(reason policy.Reason, detail string) *fault {
	asked := r.asked
	if !r.connect && !r.absolute && len(r.hosts) == 1 {
		asked = parseAuthority(r.hosts[0])
	}
	f := &fault{plane: policy.HTTP, name: asked.name, port: asked.port, reason: reason, detail: detail}
	if r.connect {
		f.plane = policy.Connect
	}
	return f
}

// line takes the request line apart (RFC 9112 §3). What stands between the first and
// the last space is the target: one with spaces in it is still told in the record.
func (r *headReader) line(line string) string {
	method, rest, _ := strings.Cut(line, " ")
	i := strings.LastIndexByte(rest, ' ')
	// All registered methods are of these letters, and the gate's own is not.
	if i < 0 || method == "" || len(method) > maxMethod || strings.Trim(method, capitals) != "" {
		return notRequest
	}
	r.method, r.target, r.version = method, rest[:i], rest[i+1:]
	r.connect = method == "CONNECT"
	if r.connect {
		r.asked = parseAuthority(r.target)
	} else if scheme, rest, ok := strings.Cut(r.target, "://"); ok && r.target[0] != '/' {
		r.absolute, r.scheme = true, scheme
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			rest = rest[:i]
		}
		r.asked = parseAuthority(rest)
	}
	if r.version != "HTTP/1.1" && r.version != "HTTP/1.0" {
		return notRequest
	}
	return ""
}

const notRequest = "not an HTTP/1 request"

const capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ-"

// field takes a field line apart (RFC 9112 §5).
func (r *headReader) field(line string) string {
	if r.fields++; r.fields > maxFields {
		return fmt.Sprintf("more than %d fields", maxFields)
	}
	if line[0] == ' ' || line[0] == '\t' {
		return "a folded field (obs-fold)"
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return "a field without a proper name"
	}
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "a control character in a field"
		}
	}
	switch strings.ToLower(name) {
	case "host":
		r.hosts = append(r.hosts, value)
	case "content-length":
		r.lengths = append(r.lengths, value)
	case "transfer-encoding":
		r.codings = append(r.codings, value)
	case "expect":
		r.expects = append(r.expects, value)
	case "trailer":
		return "trailers are not taken"
	}
	return ""
}

// framing says where the request ends (RFC 9112 §6).
func (r *headReader) framing() string {
	switch {
	case len(r.lengths)+len(r.codings) > 1:
		return "more than one length"
	case len(r.lengths) == 1:
		n, err := strconv.ParseUint(r.lengths[0], 10, 63)
		if err != nil || len(r.lengths[0]) > maxLength {
			return "a length that is none"
		}
		r.length = int64(n)
	case len(r.codings) == 1:
		if r.codings[0] != "chunked" || r.version != "HTTP/1.1" {
			return "a transfer coding other than chunked"
		}
		r.chunked = true
	}
	switch {
	case r.connect && (r.chunked || r.length > 0):
		return "a CONNECT with a body"
	case len(r.expects) > 1, len(r.expects) == 1 && !strings.EqualFold(r.expects[0], "100-continue"):
		return "an expectation other than 100-continue"
	case len(r.hosts) > 1:
		return "more than one Host"
	case len(r.hosts) == 0 && !r.connect && r.version == "HTTP/1.1":
		return "no Host"
	}
	return ""
}

// destination checks that the request says in one voice whom it is for. A detail without
// a reason: the name is none, and the policy says of which kind.
func (r *headReader) destination(unaware bool, box netip.Addr) (policy.Reason, string) {
	nameless := func(a authority) bool { return !a.named || unaware && policy.IsLiteral(a.name) }
	switch told := r.connect || r.absolute; {
	case unaware && !r.asked.valid && r.absolute:
		return policy.Malformed, "not host:port"
	case told && nameless(r.asked):
		if reason, detail := r.hostAgrees(httpPort); unaware && r.absolute && detail != "" {
			return reason, detail // two hosts, of which one may have a name
		}
		return policy.NoReason, "not a host name"
	case told && !r.asked.valid, r.connect && r.asked.port == 0:
		return policy.Malformed, "not host:port"
	case r.connect:
		return r.hostAgrees(r.asked.port)
	case r.absolute && !strings.EqualFold(r.scheme, "http"):
		return policy.Malformed, "only http is forwarded; for https there is CONNECT"
	case !r.absolute && !strings.HasPrefix(r.target, "/") && (r.target != "*" || r.method != "OPTIONS"):
		return policy.Malformed, "not a request target"
	}
	for i := range len(r.target) {
		if c := r.target[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return policy.Malformed, "not a request target"
		}
	}
	if _, err := url.ParseRequestURI(r.target); err != nil {
		return policy.Malformed, "not a request target"
	}
	if r.absolute {
		return r.hostAgrees(httpPort)
	}
	field := strings.Join(r.hosts, "") // there is one at most
	host := parseAuthority(field)
	switch {
	case unaware && !host.valid:
		return policy.Malformed, "not host:port"
	case unaware && isAddress(host.name, box):
		return policy.NoReason, ""
	case unaware && nameless(host), strings.Trim(field, hostBytes) != "":
		return policy.NoReason, "not a host name"
	}
	return policy.NoReason, ""
}

// hostBytes are those that the authority of a name or an address may have.
const hostBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]%"

// httpPort is the port of http URLs that name none.
const httpPort = 80

// hostAgrees checks that Host, if there is one, means the same host and port as the
// target. A port that is not written is the standard one.
func (r *headReader) hostAgrees(standard uint16) (policy.Reason, string) {
	if len(r.hosts) == 0 {
		return policy.NoReason, ""
	}
	host := parseAuthority(r.hosts[0])
	if host.valid && host.name == r.asked.name && host.on(standard) == r.asked.on(standard) {
		return policy.NoReason, ""
	}
	return policy.HostMismatch, fmt.Sprintf("Host is %.300q", r.hosts[0])
}

// isToken reports whether s is one (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
