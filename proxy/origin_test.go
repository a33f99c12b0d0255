package proxy

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestOriginSpeaksFirst: an origin is not heard before it is asked.
func TestOriginSpeaksFirst(t *testing.T) {
	for _, then := range []string{"a write", "the end"} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			c := newOriginConn(near, &httpSide{idle: time.Hour})
			go io.WriteString(far, "SSH-2.0-x")
			heard := make(chan string, 1)
			go func() {
				buf := make([]byte, 100)
				n, _ := c.Read(buf)
				heard <- string(buf[:n])
			}()
			synctest.Wait()
			if len(heard) > 0 {
				t.Fatalf("heard %q", <-heard)
			}
			want := "SSH-2.0-x"
			if then == "a write" {
				go c.Write([]byte("GET"))
			} else {
				c.Close()
				want = ""
			}
			if got := <-heard; got != want {
				t.Errorf("after %s: %q", then, got)
			}
			c.Close()
		})
	}
}
