package h2

import (
	"bufio"
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// read takes the server's frames until the connection ends.
func (c *Conn) read() {
	frames := http2.NewFramer(nil, bufio.NewReader(c.conn))
	frames.SetReuseFrames()
	frames.SetMaxReadFrameSize(maxFrame)
	frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil) // that which it has by default (§6.5.2)
	frames.MaxHeaderListSize = uint32(c.cfg.MaxHeader)
	for first := true; ; first = false {
		f, err := frames.ReadFrame()
		if !c.take(f, err, first) {
			return
		}
	}
}

// take takes a frame, or the error instead of one. It reports whether the connection goes on.
func (c *Conn) take(f http2.Frame, err error, first bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	var stream http2.StreamError
	var violation http2.ConnectionError
	switch {
	case errors.As(err, &stream):
		c.heard, c.asked = time.Now(), time.Time{}
		if e := c.stream(stream.StreamID); e != nil {
			c.reset(e, stream.Code, fmt.Errorf("%w: %w", errMalformed, err))
		}
	case errors.As(err, &violation):
		c.violated(http2.ErrCode(violation), "%w", err)
	case errors.Is(err, http2.ErrFrameTooLarge):
		c.violated(http2.ErrCodeFrameSize, "%w", err)
	case err != nil:
		c.fail(http2.ErrCodeNo, fmt.Errorf("reading: %w", err))
	default:
		c.heard, c.asked = time.Now(), time.Time{}
		if s, ok := f.(*http2.SettingsFrame); first && (!ok || s.IsAck()) { // §3.4
			c.violated(http2.ErrCodeProtocol, "it begins with %v", f.Header().Type)
			break
		}
		c.frame(f)
	}
	if c.out.Len() > maxUnsent {
		c.violated(http2.ErrCodeEnhanceYourCalm, "there is more to acknowledge than is read")
	}
	return c.err == nil
}

// frame is take for each kind. Called with mu held, as are all of the following.
func (c *Conn) frame(f http2.Frame) {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		if e := c.stream(f.StreamID); e != nil {
			c.advance(e, e.fields(f), f.StreamEnded())
		}
	case *http2.DataFrame:
		c.data(f)
	case *http2.RSTStreamFrame:
		if e := c.stream(f.StreamID); e != nil {
			c.close(e, fmt.Errorf("the server has reset the stream: %v", f.ErrCode))
		}
	case *http2.SettingsFrame:
		c.settle(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			c.frames.WritePing(true, f.Data)
			c.wakeWriter()
		}
	case *http2.GoAwayFrame:
		c.goAway(f)
	case *http2.WindowUpdateFrame:
		c.allow(f)
	case *http2.PushPromiseFrame:
		c.violated(http2.ErrCodeProtocol, "it pushes, which it was told not to")
	}
	// PRIORITY, and what is not known, says nothing to a client (§5.3, §5.5).
}

// stream returns the exchange of a number; nil: it has ended, and what was on its way of it
// counts no more (§5.1). A number that was never used is a violation.
func (c *Conn) stream(id uint32) *Exchange {
	if id%2 == 0 || id >= c.next {
		c.violated(http2.ErrCodeProtocol, "a frame is of stream %d, which was never opened", id)
		return nil
	}
	return c.streams[id]
}

// advance goes on with an exchange of which a frame was taken.
func (c *Conn) advance(e *Exchange, err error, ended bool) {
	if err == nil && ended && !e.enough() {
		err = e.whole()
	}
	switch {
	case err != nil:
		c.reset(e, http2.ErrCodeProtocol, err)
	case ended:
		c.close(e, nil)
	case e.enough():
		c.reset(e, http2.ErrCodeCancel, nil)
	}
}

// data counts what the server has sent, whosever it is, and tells it when half of what it may
// send was read (§6.9).
func (c *Conn) data(f *http2.DataFrame) {
	if c.received += int(f.Length); c.received >= ownWindow/2 {
		c.frames.WriteWindowUpdate(0, uint32(c.received))
		c.received = 0
		c.wakeWriter()
	}
	if e := c.stream(f.StreamID); e != nil {
		c.advance(e, e.data(f.Data()), f.StreamEnded())
	}
}

// settle takes the server's settings (§6.5).
func (c *Conn) settle(f *http2.SettingsFrame) {
	if f.IsAck() {
		return
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingMaxConcurrentStreams:
			c.maxStreams = s.Val
		case http2.SettingHeaderTableSize:
			c.header.SetMaxDynamicTableSizeLimit(s.Val)
		case http2.SettingInitialWindowSize: // of those under way, too (§6.9.2)
			change := int64(s.Val) - c.bodyWindow
			c.bodyWindow = int64(s.Val)
			for _, e := range c.streams {
				if e.window += change; e.window > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
			}
		}
		return nil
	})
	var violation http2.ConnectionError
	if errors.As(err, &violation) {
		c.violated(http2.ErrCode(violation), "settings: %w", err)
		return
	}
	c.frames.WriteSettingsAck()
	c.wakeWriter()
	c.sendMore()
	c.admit()
}

// allow takes the server's word that more may be sent (§6.9).
func (c *Conn) allow(f *http2.WindowUpdateFrame) {
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > maxWindow {
			c.violated(http2.ErrCodeFlowControl, "a window is too large")
			return
		}
		c.sendMore()
		return
	}
	e := c.stream(f.StreamID)
	if e == nil {
		return
	}
	if e.window += int64(f.Increment); e.window > maxWindow {
		c.reset(e, http2.ErrCodeFlowControl, fmt.Errorf("%w: a window is too large", errMalformed))
		return
	}
	c.sendMore()
}

// goAway takes the server's word that it will answer those up to a stream, and no others
// (§6.8).
func (c *Conn) goAway(f *http2.GoAwayFrame) {
	err := fmt.Errorf("the server closes the connection: %v", f.ErrCode)
	if text := f.DebugData(); len(text) > 0 {
		err = fmt.Errorf("%w, %.64q", err, text)
	}
	c.leave(err)
	for _, e := range c.streams {
		if e.id > f.LastStreamID {
			c.close(e, err)
		}
	}
	c.rest()
}
