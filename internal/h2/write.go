package h2

import (
	"bytes"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/net/http2"
)

// write writes what there is until the connection has ended, then the rest, and closes it.
func (c *Conn) write() {
	defer close(c.closed)
	defer c.conn.Close()
	var taken bytes.Buffer
	for range c.wake {
		// Whoever else has something to send now gets to it first: so all of it is one
		// write, and one TLS record.
		runtime.Gosched()
		last := c.takeOut(&taken)
		if taken.Len() == 0 { // it went with the last
			continue
		}
		c.conn.SetWriteDeadline(time.Now().Add(c.cfg.WriteTimeout))
		if _, err := c.conn.Write(taken.Bytes()); err != nil {
			c.mu.Lock()
			c.fail(http2.ErrCodeNo, fmt.Errorf("writing: %w", err))
			c.mu.Unlock()
			return
		}
		if last {
			return
		}
	}
}

// takeOut exchanges what is to be written for an empty buffer, and reports whether nothing
// will follow.
func (c *Conn) takeOut(taken *bytes.Buffer) (last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken.Reset()
	c.out, *taken = *taken, c.out
	return c.err != nil
}
