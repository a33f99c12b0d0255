package proxy

import (
	"io"
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
	w       http.ResponseWriter
	control *http.ResponseController
	modern  bool  // the client speaks HTTP/1.1
	body    *sent // nil: none

	mu    sync.Mutex
	final bool // the final response has begun
}

// informational passes on a 1xx response (RFC 9110 §15.2).
func (a *answer) informational(status int, fields textproto.MIMEHeader) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.final || !a.modern {
		return nil
	}
	header := a.w.Header()
	for name, values := range endToEnd(http.Header(fields)) {
		header[name] = values
	}
	a.control.SetWriteDeadline(time.Now().Add(exchangeIdle))
	a.w.WriteHeader(status)
	clear(header)
	return nil
}

// begin says that no more informational responses are taken.
func (a *answer) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.final = true
	a.control.SetWriteDeadline(time.Now().Add(exchangeIdle))
}

// copy passes on the final response as it comes. Where that ends before its time, so does
// the connection: the client must not take a part for the whole.
func (a *answer) copy(resp *http.Response) {
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
	if a.body != nil && !a.body.ended() {
		header.Set("Connection", "close") // see sent.finish
	}
	a.w.WriteHeader(resp.StatusCode)

	buf := make([]byte, copyBuffer)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 && !a.write(buf[:n]) || err != nil && err != io.EOF {
			panic(http.ErrAbortHandler)
		}
		if err == io.EOF {
			break
		}
	}
	for name, values := range resp.Trailer {
		if !slices.Contains(announced, name) {
			name = http.TrailerPrefix + name
		}
		header[name] = values
	}
}

// write sends at once what has come.
func (a *answer) write(p []byte) bool {
	a.control.SetWriteDeadline(time.Now().Add(exchangeIdle))
	_, err := a.w.Write(p)
	return err == nil && a.control.Flush() == nil
}

// A sent body is that of a client's request on its way to the origin. The transport reads
// and closes it, and may do both when the origin's response is there already.
type sent struct {
	io.ReadCloser
	control *http.ResponseController

	mu     sync.Mutex
	err    error         // why it could not be read to its end
	closed chan struct{} // when the transport is done with it
	once   sync.Once
}

func (s *sent) Read(p []byte) (int, error) {
	s.control.SetReadDeadline(time.Now().Add(exchangeIdle))
	n, err := s.ReadCloser.Read(p)
	if err == io.EOF {
		s.control.SetReadDeadline(time.Time{}) // net/http waits for the next request already
	} else if err != nil {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}
	return n, err
}

func (s *sent) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil // net/http's server closes its own
}

// failure is why the body could not be read, if that is so.
func (s *sent) failure() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// ended reports whether the transport is done with the body.
func (s *sent) ended() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// finish waits until the transport is done: when the handler returns, the connection is
// no longer its own. An origin that answered early does not read the rest.
func (s *sent) finish() {
	if !s.ended() {
		s.control.SetReadDeadline(time.Unix(1, 0))
		<-s.closed
	}
}
