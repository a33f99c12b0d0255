package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"tillgate/policy"
)

// A gate is a client's connection as net/http may see it. It reads the framing of each
// request itself, and passes on only what is beyond doubt: net/http is lenient where an
// origin may be strict, or the other way round, and leaves no record of what it refuses.
//
// In place of a request with a fault net/http gets one of the gate's own, which no client
// can make: so its turn comes when all before it are answered. It is the last.
//
// After a CONNECT the gate looks at nothing any more: [gate.rest] has what it has read of
// the tunnel's bytes.
type gate struct {
	net.Conn
	unaware bool       // the client does not know of the proxy: each request must name a host
	box     netip.Addr // the box, as an unaware client may name it

	buf    []byte // read from the connection; the first passed bytes are for net/http
	passed int
	seen   int // of buf: no head ends there

	state   gateState
	left    int64 // of a body, in stateBody
	chunks  chunkReader
	begun   bool   // the first line is known to be one of a request
	heads   int    // that passed
	target  string // of the CONNECT, in stateTunnel
	fault   *fault // in stateRefused
	refused []byte // what the client said from there on

	// answered counts the requests that were. While they are fewer than the heads that
	// passed, the client waits and need not say anything.
	answered atomic.Int64
	timedOut bool // the last time that it read, and the client was to say something

	lingers atomic.Bool // Close waits until the client has read why
}

type gateState uint8

const (
	stateHead gateState = iota
	stateBody
	stateChunks
	stateTunnel // the bytes are the client's own affair
	stateRefused
)

// refusedMethod is that of the request by which the gate tells of a fault. The method of
// a client has capital letters.
const refusedMethod = "refused"

const refusal = refusedMethod + " / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n"

// newGate begins with what has been read of the connection already.
func newGate(conn net.Conn, early []byte) *gate {
	return &gate{Conn: conn, buf: slices.Clip(early)}
}

// Read gives no more than what is left of one message. Of a body with a fault, the error
// is the *fault.
func (g *gate) Read(p []byte) (int, error) {
	if err := g.await(); err != nil {
		return 0, err
	}
	n := copy(p, g.buf[:g.passed])
	g.buf, g.passed = g.buf[n:], g.passed-n
	return n, nil
}

// await returns when there is something to pass on, or never will be: then with an error.
func (g *gate) await() error {
	for {
		if g.passed == 0 && len(g.buf) > 0 {
			g.examine()
		}
		switch {
		case g.passed > 0:
			return nil
		case g.state == stateRefused:
			return g.fault
		}
		switch err := g.fill(); {
		case err == nil:
		case g.unaware && g.timedOut && g.heads == 0:
			g.refuse(&fault{plane: policy.HTTP, reason: policy.NoHello, detail: "no whole request"})
		default:
			return err
		}
	}
}

// waits reports whether the client has said all of a request, and no answer is complete.
func (g *gate) waits() bool {
	return int64(g.heads) > g.answered.Load() && (g.state == stateHead || g.state == stateTunnel)
}

// fill reads once.
func (g *gate) fill() error {
	n, waits := len(g.buf), g.waits()
	g.buf = slices.Grow(g.buf, 2<<10)
	got, err := g.Conn.Read(g.buf[n:cap(g.buf)])
	g.buf = g.buf[:n+got]
	g.timedOut = isTimeout(err) && !waits
	switch {
	case got > 0:
		return nil // if there is an error, it comes again
	case err == io.EOF && waits:
		return g.hold()
	}
	return err
}

// hold keeps the end of what the client says (FIN) from net/http, which would take it for
// gone: it may still read. Only a reset shows that it is. So this returns when there is one,
// or at the read deadline, which net/http sets in the past to have the connection back. Then
// the next read tells of the end.
func (g *gate) hold() error {
	c, ok := g.Conn.(*net.TCPConn)
	if !ok {
		return io.EOF
	}
	return awaitReset(c)
}

// examine sets passed to what of the buffer may be read.
func (g *gate) examine() {
	switch g.state {
	case stateHead:
		g.examineHead()
	case stateBody:
		g.passed = int(min(g.left, int64(len(g.buf))))
		if g.left -= int64(g.passed); g.left == 0 {
			g.state = stateHead
		}
	case stateChunks:
		n, end, ok := g.chunks.read(g.buf)
		g.passed = n
		if end {
			g.state, g.chunks = stateHead, chunkReader{}
		} else if !ok {
			g.state, g.buf = stateRefused, g.buf[:n]
			g.fault = &fault{reason: policy.Malformed, detail: "a chunk that is none"}
		}
	case stateTunnel:
		g.passed = len(g.buf)
	}
}

// examineHead passes a whole head or nothing.
func (g *gate) examineHead() {
	if !g.begun {
		switch openingOf(g.buf) {
		case openingUnknown:
			return
		case openingTLS:
			g.refuse(brokenHead(g.buf, policy.Malformed, errTLSOnHTTP.Error()))
			return
		case openingOther:
			g.refuse(brokenHead(g.buf, g.strange(), notRequest))
			return
		}
		g.begun = true
	}
	end, detail := g.headEnd()
	if detail != "" {
		g.refuse(brokenHead(g.buf, policy.Malformed, detail))
		return
	}
	if end == 0 {
		return
	}
	h, f := parseHead(g.buf[:end], g.unaware, g.box)
	if f != nil {
		g.refuse(f)
		return
	}
	g.heads++
	g.passed, g.seen, g.begun = end, 0, false
	switch {
	case h.connect:
		g.state, g.target = stateTunnel, h.target
	case h.chunked:
		g.state = stateChunks
	case h.length > 0:
		g.state, g.left = stateBody, h.length
	}
}

// strange is the reason against what is no request: at first it is another protocol, later
// it is HTTP that has lost its way.
func (g *gate) strange() policy.Reason {
	if g.heads == 0 {
		return policy.NotTLS
	}
	return policy.Malformed
}

// headEnd returns where the head ends, 0 if that is not yet known, and what is wrong so
// far: then there is no need to wait for more.
func (g *gate) headEnd() (end int, detail string) {
	for end == 0 {
		i := bytes.IndexByte(g.buf[g.seen:], '\n')
		if i < 0 {
			g.seen = len(g.buf)
			break
		}
		g.seen += i + 1
		line := g.buf[:g.seen]
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			return 0, "a line that ends in LF alone"
		}
		if bytes.HasSuffix(line, []byte("\r\n\r\n")) {
			end = g.seen
		}
	}
	if g.seen > maxHead {
		return 0, fmt.Sprintf("a head of more than %d bytes", maxHead)
	}
	return end, ""
}

// refuse passes the gate's own request, and nothing after it.
func (g *gate) refuse(f *fault) {
	g.fault, g.state, g.refused = f, stateRefused, g.buf
	g.buf, g.passed = []byte(refusal), len(refusal)
}

// rest is what was read of the connection, but by nobody else.
func (g *gate) rest() []byte { return g.buf }

// Close ends the connection.
func (g *gate) Close() error {
	if c, ok := g.Conn.(*net.TCPConn); ok && g.lingers.Load() {
		return linger(c)
	}
	return g.Conn.Close()
}

// CloseWrite is what net/http calls where it leaves a body unread.
func (g *gate) CloseWrite() error {
	if c, ok := g.Conn.(*net.TCPConn); ok {
		return c.CloseWrite()
	}
	return nil
}

const (
	lingerTime  = time.Second
	lingerBytes = 256 << 10
)

// linger closes a connection of a client that may still be sending. Unread bytes would
// make the kernel reset the connection, and the client lose what it has been told
// (RFC 9112 §9.6).
func linger(c *net.TCPConn) error {
	c.CloseWrite()
	c.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, c, lingerBytes)
	return c.Close()
}
