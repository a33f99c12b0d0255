package h2

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// A server that others have written, over TLS: net/http's.
func TestNetHTTP(t *testing.T) {
	defer goleak.VerifyNone(t)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("X-Test") != "yes" {
			w.WriteHeader(500)
		}
		w.Header().Set("X-Length", fmt.Sprint(len(body)))
		io.WriteString(w, strings.Repeat(string(body), 64)) // some fill their window
	}))
	srv.EnableHTTP2 = true
	srv.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 20}
	srv.StartTLS()
	defer srv.Close()
	conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	cfg.Header = []Field{{":method", "POST"}, {":scheme", "https"}, {":authority", "x.test"}, {":path", "/q?z"}, {"x-test", "yes"}}
	cfg.MaxBody = 65535
	cfg.Ping, cfg.PingTimeout, cfg.WriteTimeout, cfg.Idle = time.Minute, time.Minute, time.Minute, time.Minute
	c := New(conn, cfg)
	defer c.Close()
	<-c.Ask([]byte("what are your settings?")).Done()
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			for j := range 20 {
				size := 4 + (i*20+j)*7%1000/4*4
				body := strings.Repeat(fmt.Sprintf("%04d", i*20+j), size/4)
				e := c.Ask([]byte(body))
				if j%10 == 9 {
					e.Cancel()
					continue
				}
				<-e.Done()
				r, err := e.Result()
				if err != nil {
					t.Errorf("%d of %d: %v", j, i, err)
				} else if r.Status != 200 || string(r.Body) != strings.Repeat(body, 64) || r.Get("x-length") != fmt.Sprint(size) {
					t.Errorf("%d of %d: status %d, %d bytes for %d", j, i, r.Status, len(r.Body), size)
				}
			}
		})
	}
	all.Wait()
	if !c.Usable() {
		t.Error("not usable after that")
	}
}
