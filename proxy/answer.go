package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"sync"
	"time"
)

// copyBuffer is how much of a response is on its way at once.
const copyBuffer = 16 << 10

// An answer is the client's side of an exchange.
type answer struct {
	side    *httpSide
	conn    *net.TCPConn
	w       http.ResponseWriter
	control *http.ResponseController
	modern  bool  // the client speaks HTTP/1.1
	body    *sent // nil: none

	mu    sync.Mutex
	waits bool // the client does so for 100 (Continue) before it sends its body
	final bool // the final response has begun
}

// informational passes on a 1xx response (RFC 9110 §15.2). 100 is said when the body is read,
// which is when the origin has said it, or has not for a second.
func (a *answer) informational(status int, fields textproto.MIMEHeader) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.final || !a.modern || status == http.StatusContinue {
		return nil
	}
	header := a.w.Header()
	for name, values := range endToEnd(http.Header(fields)) {
		header[name] = values
	}
	a.control.SetWriteDeadline(a.side.deadline())
	a.w.WriteHeader(status)
	clear(header)
	return nil
}

// goOn tells a client that waits for it to send its body. net/http would when the body is
// read, but the transport does that while it may be passing on another 1xx response.
func (a *answer) goOn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.final || !a.waits {
		return
	}
	a.waits = false
	a.control.SetWriteDeadline(a.side.deadline())
	a.w.WriteHeader(http.StatusContinue)
}

// begin says that no more informational responses are taken.
func (a *answer) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.final = true
	a.control.SetWriteDeadline(a.side.deadline())
}

// copy passes on the final response as it comes. An error of either side means that the
// client has a part of it, and the connection must end, so that it takes that for no more.
func (a *answer) copy(resp *http.Response) (fromOrigin, toClient error) {
	defer resp.Body.Close()
	header := a.w.Header()
	for name, values := range endToEnd(resp.Header) {
		header[name] = values
	}
	for _, name := range []string{"Date", "Content-Type"} {
		if header[name] == nil {
			header[name] = nil // else net/http would add its own
		}
	}
	var announced []string
	for name := range resp.Trailer {
		announced = append(announced, name)
		header.Add("Trailer", name)
	}
	if a.body != nil && !a.body.whole() {
		header.Set("Connection", "close") // the rest of it won't be read
	}
	a.w.WriteHeader(resp.StatusCode)
	toClient = a.control.Flush() // the body may take its time

	buf := make([]byte, copyBuffer)
	for fromOrigin == nil && toClient == nil {
		var n int
		if n, fromOrigin = resp.Body.Read(buf); n > 0 {
			toClient = a.write(buf[:n])
		}
	}
	if fromOrigin == io.EOF {
		fromOrigin = nil
	}
	if fromOrigin != nil || toClient != nil {
		if !a.modern && resp.ContentLength < 0 {
			a.conn.SetLinger(0) // a reset, where the end of the body is that of the connection
		}
		return fromOrigin, toClient
	}
	for name, values := range resp.Trailer {
		if !slices.Contains(announced, name) {
			name = http.TrailerPrefix + name
		}
		header[name] = values
	}
	return nil, nil
}

// write sends at once what has come.
func (a *answer) write(p []byte) error {
	a.control.SetWriteDeadline(a.side.deadline())
	if _, err := a.w.Write(p); err != nil {
		return err
	}
	return a.control.Flush()
}

// A sent body is that of a client's request on its way to the origin. The transport reads
// and closes it, and may still do so when the origin has answered.
type sent struct {
	io.ReadCloser
	answer *answer
	closed chan struct{} // when the transport is done with it
	once   sync.Once

	reading sync.Mutex // held while the client is read

	mu    sync.Mutex
	err   error // with which it ended: io.EOF, or why it could not be read so far
	given bool  // up
}

func (s *sent) Read(p []byte) (int, error) {
	if s.whole() {
		// The transport looks whether there is more than it was told. By then the answer may
		// have begun, and net/http have closed the body: its error would end the exchange.
		return 0, io.EOF
	}
	s.answer.goOn()
	if !s.wait() {
		return 0, errGivenUp
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	n, err := s.ReadCloser.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == io.EOF {
		// net/http waits for the next request already, which may take its time.
		s.answer.control.SetReadDeadline(time.Time{})
	}
	if s.err == nil {
		s.err = err
	}
	return n, err
}

var errGivenUp = errors.New("the origin does not want the rest")

// wait sets the time that the client has for the next bytes.
func (s *sent) wait() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.given {
		return false
	}
	s.answer.control.SetReadDeadline(s.answer.side.deadline())
	return true
}

func (s *sent) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil // net/http's server closes what it has made
}

// failure is why the client did not send all of the body. client is the context of its
// request: a read that fails ends it, and says why only then.
func (s *sent) failure(client context.Context) error {
	if s == nil {
		return nil
	}
	if client.Err() != nil {
		s.reading.Lock()
		defer s.reading.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == io.EOF {
		return nil
	}
	return s.err
}

// whole reports whether there is no more of the body to read.
func (s *sent) whole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err == io.EOF
}

// finish waits until the transport is done with the body: when the handler returns, the
// connection is no longer its own. What the origin did not wait for is not read.
func (s *sent) finish() {
	s.mu.Lock()
	if s.err == nil {
		s.given = true
		s.answer.control.SetReadDeadline(time.Unix(1, 0)) // long ago: it ends what waits
	}
	s.mu.Unlock()
	<-s.closed
}
