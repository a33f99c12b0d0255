package h2

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Exchange is a request, and the response to it.
type Exchange struct {
	conn *Conn
	done chan struct{}

	// Until done is closed these are guarded by conn.mu.
	id     uint32 // of the stream; 0: it waits for one
	body   []byte // of the request, what is yet to be sent
	window int64  // of which so much may be
	length int64  // the response's, as its header has it; negative: it has not
	early  int    // responses that only said that another is to come
	ended  bool
	resp   Response
	err    error
}

// Response is what the server says. Trailers are left out.
type Response struct {
	Status int // 200 to 999
	Header []Field
	// Body is that of status 200. That of another is not waited for, and left out, or a
	// part of it is there.
	Body []byte
	// Cut reports that the body is longer than MaxBody. Not all of it is there then.
	Cut bool
}

// Get returns the value of the first header field of a name, which is in lower case, or "".
func (r *Response) Get(name string) string {
	for _, f := range r.Header {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Ask sends a request with a body, which must not change until the exchange has ended. It
// does not wait.
func (c *Conn) Ask(body []byte) *Exchange {
	e := &Exchange{conn: c, done: make(chan struct{}), body: body, length: -1}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.going != nil {
		e.end(c.going)
		return e
	}
	c.waiting = append(c.waiting, e)
	c.admit()
	return e
}

// Done is closed when the exchange has ended.
func (e *Exchange) Done() <-chan struct{} { return e.done }

// Result is how the exchange went. It is for after Done.
func (e *Exchange) Result() (*Response, error) {
	if e.err != nil {
		return nil, e.err
	}
	return &e.resp, nil
}

// Cancel ends the exchange, if it has not ended, with context.Canceled. The server is told
// that nobody waits.
func (e *Exchange) Cancel() {
	c := e.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.ended:
	case e.id == 0:
		c.waiting = slices.DeleteFunc(c.waiting, func(w *Exchange) bool { return w == e })
		e.end(context.Canceled)
		c.rest()
	default:
		c.reset(e, http2.ErrCodeCancel, context.Canceled)
	}
}

// end has whoever waits go on. Called with mu held, as are all of the following.
func (e *Exchange) end(err error) {
	if !e.ended {
		e.ended, e.err = true, err
		close(e.done)
	}
}

// admit makes streams of the requests that wait, as many as the server allows.
func (c *Conn) admit() {
	for len(c.waiting) > 0 && uint32(len(c.streams)) < c.maxStreams && c.going == nil {
		if c.next > lastStream {
			c.leave(errExhausted)
			c.rest()
			return
		}
		e := c.waiting[0]
		c.waiting[0] = nil
		c.waiting = c.waiting[1:]
		c.open(e)
	}
}

// open sends the header of a request, and of its body what may be sent.
func (c *Conn) open(e *Exchange) {
	e.id, e.window = c.next, c.bodyWindow
	c.next += 2
	c.streams[e.id] = e
	c.block.Reset()
	for _, f := range c.cfg.Header {
		c.header.WriteField(hpack.HeaderField{Name: f.Name, Value: f.Value})
	}
	c.header.WriteField(hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(len(e.body))})
	c.frames.WriteHeaders(http2.HeadersFrameParam{
		StreamID:      e.id,
		BlockFragment: c.block.Bytes(),
		EndHeaders:    true,
		EndStream:     len(e.body) == 0,
	})
	if len(e.body) > 0 {
		c.unsent++
		c.send(e)
	}
	c.wakeWriter()
}

// send sends what may be sent of a body that is not sent yet (§5.2).
func (c *Conn) send(e *Exchange) {
	for len(e.body) > 0 {
		n := min(int64(len(e.body)), e.window, c.window, maxFrame)
		if n <= 0 {
			return
		}
		part := e.body[:n]
		e.body = e.body[n:]
		e.window -= n
		c.window -= n
		c.frames.WriteData(e.id, len(e.body) == 0, part)
		c.wakeWriter()
	}
	c.unsent--
}

// sendMore is send for all that may have waited for the server to allow it.
func (c *Conn) sendMore() {
	if c.unsent == 0 {
		return
	}
	for _, e := range c.streams {
		if len(e.body) > 0 {
			c.send(e)
		}
	}
}

// close ends a stream. A request that the server did not want to read to its end is told to
// be over.
func (c *Conn) close(e *Exchange, err error) {
	if len(e.body) > 0 && err == nil {
		c.frames.WriteRSTStream(e.id, http2.ErrCodeCancel)
		c.wakeWriter()
	}
	if len(e.body) > 0 {
		c.unsent--
	}
	delete(c.streams, e.id)
	e.end(err)
	c.admit()
	c.rest()
}

// reset ends a stream, and tells the server.
func (c *Conn) reset(e *Exchange, code http2.ErrCode, err error) {
	c.frames.WriteRSTStream(e.id, code)
	c.wakeWriter()
	c.close(e, err)
}

// rest notes that there is nothing to do, if so. Then a connection that takes nothing new is
// of no more use.
func (c *Conn) rest() {
	if len(c.streams)+len(c.waiting) > 0 {
		return
	}
	c.rests = time.Now()
	if c.going != nil {
		c.fail(http2.ErrCodeNo, c.going)
	}
}

// fields is a header as it came.
func (e *Exchange) fields(f *http2.MetaHeadersFrame) error {
	if f.Truncated {
		return fmt.Errorf("%w: its header is too long", errMalformed)
	}
	if e.resp.Status != 0 { // trailers (§8.1)
		if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
			return fmt.Errorf("%w: it has a second header", errMalformed)
		}
		return nil
	}
	status := f.PseudoValue("status")
	n, err := strconv.ParseUint(status, 10, 16)
	switch {
	case err != nil || len(status) != 3 || n < 100 || len(f.PseudoFields()) != 1:
		return fmt.Errorf("%w: its status is %.16q", errMalformed, status)
	case n < 200: // an answer is yet to come
		if e.early++; f.StreamEnded() || n == 101 || e.early > maxEarly {
			return fmt.Errorf("%w: it goes on after status %d as it may not", errMalformed, n)
		}
		return nil
	}
	e.resp.Status = int(n)
	regular := f.RegularFields()
	e.resp.Header = make([]Field, len(regular))
	for i, r := range regular {
		e.resp.Header[i] = Field{r.Name, r.Value}
		if r.Name != "content-length" {
			continue
		}
		length, err := strconv.ParseUint(r.Value, 10, 63)
		if err != nil || e.length >= 0 && e.length != int64(length) {
			return fmt.Errorf("%w: its content-length is %.24q", errMalformed, r.Value)
		}
		e.length = int64(length)
	}
	e.resp.Cut = e.length > int64(e.conn.cfg.MaxBody)
	return nil
}

// data is a part of the body.
func (e *Exchange) data(p []byte) error {
	switch {
	case e.resp.Status == 0:
		return fmt.Errorf("%w: it begins with its body", errMalformed)
	case len(e.resp.Body)+len(p) > e.conn.cfg.MaxBody:
		e.resp.Cut = true
		return nil
	}
	if e.resp.Body == nil && e.length > 0 {
		e.resp.Body = make([]byte, 0, e.length)
	}
	e.resp.Body = append(e.resp.Body, p...)
	return nil
}

// enough reports that nothing more of the response is wanted.
func (e *Exchange) enough() bool {
	return e.resp.Cut || e.resp.Status != 0 && e.resp.Status != 200
}

// whole is for when the server has said all.
func (e *Exchange) whole() error {
	switch {
	case e.resp.Status == 0:
		return fmt.Errorf("%w: it has no header", errMalformed)
	case e.length >= 0 && e.length != int64(len(e.resp.Body)):
		return fmt.Errorf("%w: it has %d bytes and was to have %d", errMalformed, len(e.resp.Body), e.length)
	}
	return nil
}
