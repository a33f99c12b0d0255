package console

import (
	"bufio"
	"context"
	"io"
	"iter"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// lateConn is read until a while after it was closed.
type lateConn struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
	left   bool
}

func (c *lateConn) Read([]byte) (int, error) {
	<-c.closed
	time.Sleep(time.Minute)
	c.left = true
	return 0, io.EOF
}

func (c *lateConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Who is about to read a request when the end begins is waited for, too: what it uses ends later.
func TestServeEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := make(pipes)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- serveUntil(ctx, newServer(http.NotFoundHandler(), nil), l) }()
		_, theirs := net.Pipe()
		conn := &lateConn{Conn: theirs, closed: make(chan struct{})}
		l <- conn
		synctest.Wait()
		cancel()
		close(l)
		if err := <-ended; err != nil || !conn.left {
			t.Errorf("it ended before its connection: %v, %v", !conn.left, err)
		}
	})
}

// A body that does not come ends a request at the socket, too: there are 32 connections for all.
func TestServeSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := make(pipes)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- serveUntil(ctx, newServer(NewAPI(ctx, Config{}), nil), l) }()
		ours, theirs := net.Pipe()
		l <- theirs
		begun := time.Now()
		go io.WriteString(ours, "POST /v1/observe HTTP/1.1\r\nHost: box\r\nContent-Length: 20\r\n\r\n{")
		if _, err := io.Copy(io.Discard, ours); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > bodyWithin+time.Second {
			t.Errorf("closed after %v", took)
		}
		cancel()
		close(l)
		<-ended
	})
}

// slowly is a journal that takes long to read.
type slowly struct{ past }

func (s *slowly) Digests(since, until time.Time) iter.Seq2[decision.Digest, error] {
	time.Sleep(2 * writeWithin)
	return s.past.Digests(since, until)
}

// What took long to find is answered all the same.
func TestServeLongRequest(t *testing.T) {
	set := storeSet(t)
	for _, target := range []string{"usage", "report?format=html"} {
		synctest.Test(t, func(t *testing.T) {
			l := make(pipes)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			a := NewAPI(ctx, Config{Journal: &slowly{}, Policy: func() *policy.Set { return set },
				Clock: func() time.Time { return noon }, Status: func() Status { return Status{} }})
			go func() { ended <- serveUntil(ctx, newServer(a, nil), l) }()
			ours, theirs := net.Pipe()
			l <- theirs
			go io.WriteString(ours, "GET /v1/"+target+" HTTP/1.1\r\nHost: box\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(ours), nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %v, %v", target, resp, err)
			}
			ours.Close()
			cancel()
			close(l)
			<-ended
		})
	}
}
