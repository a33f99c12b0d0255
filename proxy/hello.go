package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"tillgate/policy"
)

// maxHello bounds the bytes of a ClientHello on the wire, record headers
// included. Hellos with post-quantum key shares have about 1,800.
const maxHello = 16 << 10

// helloRoom is made for a hello where less than half of it is left: nearly all fit.
const helloRoom = 2 << 10

// A helloInfo is what a ClientHello says of where it wants to go.
type helloInfo struct {
	// Name is server_name (RFC 6066, section 3) in its canonical form. What is
	// no host name stays as it came, and policy.Set.Decide says why it is none:
	// an address, or bytes that no name has.
	Name   string
	HasSNI bool
	Protos []string // ALPN, as offered
}

// A helloError says why there is no hello. Reason is NoHello (the client said
// nothing, or not all of it, before the deadline or its end), NotTLS (what it
// said does not begin as TLS) or Malformed.
type helloError struct {
	Reason policy.Reason
	Err    error
}

func (e *helloError) Error() string { return "reading the TLS hello: " + e.Err.Error() }
func (e *helloError) Unwrap() error { return e.Err }

// readHello reads a ClientHello and writes nothing. The caller has set a
// deadline for reading; already is what it has read so far, into a buffer that
// it gives away: the rest of it is read into.
//
// raw is all that has been read, also what followed the hello, with or without
// an error: whoever goes on with the connection begins with it. A hello may
// come in any number of segments and records. One that names no server is no
// error. An error is a *[helloError].
//
// crypto/tls does the parsing: it refuses two names and, since that is no SNI,
// a dot at a name's end. A GREASE ECH extension, which Chrome always sends, is
// fine; with real ECH the outer name is the one that counts, here as everywhere.
func readHello(r io.Reader, already []byte) (h helloInfo, raw []byte, err error) {
	w := &helloWire{r: r, raw: already}
	err = tls.Server(w, helloConfig).Handshake()
	switch h = w.hello; {
	case w.seen && h.HasSNI && h.Name == "":
		err = &helloError{policy.Malformed, errors.New("server_name without a host name")}
	case w.seen:
		if name, ok := policy.WireName(h.Name); ok {
			h.Name = name
		}
		return h, w.raw, nil
	case w.err == nil:
		err = &helloError{policy.Malformed, err}
	case errors.Is(w.err, errNotTLS):
		err = &helloError{policy.NotTLS, w.err}
	case errors.Is(w.err, errBigHello):
		err = &helloError{policy.Malformed, w.err}
	default:
		err = &helloError{policy.NoHello, w.err}
	}
	return helloInfo{}, w.raw, err
}

// helloConfig is of all hellos. It has a hello noted where it came from, and goes no further.
var helloConfig = &tls.Config{
	GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		w := info.Conn.(*helloWire)
		w.seen = true
		w.hello = helloInfo{
			Name:   info.ServerName,
			HasSNI: slices.Contains(info.Extensions, extServerName),
			Protos: info.SupportedProtos,
		}
		return nil, errSeen
	},
}

// extServerName is the number of the server_name extension.
const extServerName = 0

var (
	errSeen     = errors.New("seen")
	errNotTLS   = errors.New("not a TLS handshake")
	errBigHello = fmt.Errorf("more than %d bytes", maxHello)
)

// helloWire is the connection as crypto/tls may see it during the hello: it can
// read so far and no further, and what it writes (an alert, since the handshake
// is not to go on) is thrown away. It asks for nothing else of a connection.
type helloWire struct {
	net.Conn // nil

	r   io.Reader
	raw []byte // read so far
	pos int    // of which tls has seen so many
	err error  // why it was given no more

	seen  bool
	hello helloInfo // that was seen
}

func (w *helloWire) Write(p []byte) (int, error) { return len(p), nil }

func (w *helloWire) Read(p []byte) (int, error) {
	if w.pos == len(w.raw) && w.pos < maxHello {
		w.err = w.fill()
	}
	rest := w.raw[w.pos:min(len(w.raw), maxHello)]
	switch {
	case !looksLikeTLS(w.raw):
		w.err = errNotTLS
	case len(rest) > 0:
		w.err = nil // an error that came with bytes comes again
	case w.pos == maxHello:
		w.err = errBigHello
	}
	if w.err != nil {
		return 0, w.err
	}
	n := copy(p, rest)
	w.pos += n
	return n, nil
}

// fill reads once, at most as much as a hello may still have.
func (w *helloWire) fill() error {
	n := len(w.raw)
	if cap(w.raw)-n < helloRoom/2 {
		w.raw = slices.Grow(w.raw, min(helloRoom, maxHello-n))
	}
	got, err := w.r.Read(w.raw[n:min(cap(w.raw), maxHello)])
	w.raw = w.raw[:n+got]
	return err
}

// looksLikeTLS judges as early as can be: by the type of the first record, and
// by its major version (RFC 8446, section 5.1). Then SSH, HTTP and SSLv2 are
// told at their first byte, without waiting for more.
func looksLikeTLS(raw []byte) bool {
	return (len(raw) < 1 || raw[0] == recordHandshake) && (len(raw) < 2 || raw[1] == 3)
}

const recordHandshake = 22
