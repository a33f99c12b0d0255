package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"tillgate/decision"
)

func TestUpstreamConfig(t *testing.T) {
	good := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	for _, tt := range []struct {
		name  string
		url   string
		addrs []netip.Addr
		limit time.Duration
		want  []string // all of them in the error
	}{
		{"good", labURL, good, time.Second, nil},
		{"a port", "https://dns.test:8443/q", good, time.Second, nil},
		{"an address as host", "https://192.0.2.1/q", good, time.Second, nil},
		{"no TLS", "http://dns.test/q", good, time.Second, []string{"must begin with https://"}},
		{"empty", "", good, time.Second, []string{"must begin with https://"}},
		{"no URL", "https://dns test/", good, time.Second, []string{`url "https://dns test/": invalid character`}},
		{"no host", "https:///q", good, time.Second, []string{"names no host"}},
		{"a port only", "https://:443/q", good, time.Second, []string{"names no host"}},
		{"a user", "https://me@dns.test/q", good, time.Second, []string{"user, fragment"}},
		{"a fragment", "https://dns.test/q#x", good, time.Second, []string{"user, fragment"}},
		{"a template", "https://dns.test/q{?dns}", good, time.Second, []string{"{?dns}"}},
		{"a big port", "https://dns.test:65536/q", good, time.Second, []string{"65536 is no port"}},
		{"port zero", "https://dns.test:0/q", good, time.Second, []string{"0 is no port"}},
		{"no addresses", labURL, nil, time.Second, []string{"0 addresses: there must be 1 to 8"}},
		{"many addresses", labURL, make([]netip.Addr, 9), time.Second, []string{"9 addresses"}},
		{"no address", labURL, []netip.Addr{{}}, time.Second, []string{"no server can have it"}},
		{"wildcard", labURL, []netip.Addr{netip.MustParseAddr("::")}, time.Second, []string{"address ::: no server"}},
		{"multicast", labURL, []netip.Addr{netip.MustParseAddr("224.0.0.1")}, time.Second, []string{"no server"}},
		{"twice", labURL, []netip.Addr{good[0], netip.MustParseAddr("::ffff:192.0.2.1")}, time.Second, []string{"twice"}},
		{"no time", labURL, good, 0, []string{"timeout 0s"}},
		{"all at once", "ftp://x", nil, -1, []string{"https://", "0 addresses", "timeout"}},
	} {
		u, err := newUpstream(upstreamConfig{URL: tt.url, Addresses: tt.addrs, Timeout: tt.limit, Clock: labClock()})
		if len(tt.want) == 0 {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			u.close()
			continue
		}
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q in it", tt.name, err, want)
			}
		}
	}
}

func TestUpstreamPort(t *testing.T) {
	u, err := newUpstream(upstreamConfig{
		URL:       "https://dns.test:8443/q",
		Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:192.0.2.1")},
		Timeout:   time.Second,
		Clock:     labClock(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	if got := fmt.Sprint(u.servers[0].addr, " ", u.servers[1].addr); got != "[2001:db8::1]:8443 192.0.2.1:8443" {
		t.Errorf("servers %s", got)
	}
}

// servers that are silent, slow or refuse, and what it costs.
func TestUpstreamHedging(t *testing.T) {
	silent := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for _, tt := range []struct {
		name   string
		break1 func(*labHost) // what is wrong with the first server
		first  http.HandlerFunc
		after  time.Duration // when the second's answer comes
		hedged uint64
	}{
		{"the first answers", func(*labHost) {}, labAnswer, 0, 0},
		{"silent", func(*labHost) {}, silent, upstreamHedge, 1},
		{"packets dropped", func(h *labHost) { h.set(nil, true) }, labAnswer, upstreamHedge, 1},
		{"refused", func(h *labHost) { h.set(syscall.ECONNREFUSED, false) }, labAnswer, 0, 0},
		{"no such network", func(h *labHost) { h.set(syscall.ENETUNREACH, false) }, labAnswer, 0, 0},
		{"an error", func(*labHost) {}, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newLabNet(t)
				tt.break1(n.serve("192.0.2.1", tt.first))
				n.serve("192.0.2.2", labAnswer)
				u := n.upstream("192.0.2.1", "192.0.2.2")
				start := time.Now()
				mustAsk(t, u)
				if got := time.Since(start); got != tt.after {
					t.Errorf("the answer took %v, want %v", got, tt.after)
				}
				if got := u.stats(); got.Hedged != tt.hedged || got.Exchanges != 1 || got.Failures != 0 {
					t.Errorf("stats %+v, want %d hedged", got, tt.hedged)
				}
				// Whoever answered is asked first from now on.
				start = time.Now()
				mustAsk(t, u)
				if got := time.Since(start); got != 0 {
					t.Errorf("the second answer took %v", got)
				}
			})
		})
	}
}

// A slow line makes the client patient, within bounds.
func TestUpstreamPatience(t *testing.T) {
	for _, tt := range []struct {
		rtt  time.Duration
		left int
		want time.Duration
	}{
		{0, 3, 200 * time.Millisecond},
		{20 * time.Millisecond, 3, 200 * time.Millisecond},
		{150 * time.Millisecond, 3, 300 * time.Millisecond},
		{700 * time.Millisecond, 3, 450 * time.Millisecond},
		{700 * time.Millisecond, 1, 900 * time.Millisecond},
		{0, 17, 100 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			u := newLabNet(t).upstream("192.0.2.1")
			ctx, cancel := context.WithTimeout(t.Context(), labTimeout)
			defer cancel()
			u.servers[0].rtt = tt.rtt
			if got := u.patience(ctx, u.servers[0], tt.left); got != tt.want {
				t.Errorf("rtt %v, %d others: %v, want %v", tt.rtt, tt.left, got, tt.want)
			}
		})
	}
}

// With the Internet gone every address has its turn, and the time is kept.
func TestUpstreamAllGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		addrs := []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"}
		for _, a := range addrs[:2] {
			n.serve(a, labAnswer).set(nil, true)
		}
		u := n.upstream(addrs...)
		start := time.Now()
		_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
		if got := time.Since(start); got != labTimeout {
			t.Errorf("it took %v, want %v", got, labTimeout)
		}
		synctest.Wait() // for the dials, which end by themselves
		var ue *upstreamError
		if !errors.As(err, &ue) || ue.fault != upstreamNoConnection || !errors.Is(err, errUpstreamTimeout) {
			t.Errorf("error %v, want no connection", err)
		}
		for _, s := range u.servers {
			if s.err == nil {
				t.Errorf("%v was not asked", s.addr)
			}
		}
		h := u.health()
		if want := "no answer from 192.0.2.1, 192.0.2.2 on TCP 443: the Internet line is down, or something on the way stops it; look at the router, and have it let the box out to these"; h.State != decision.Bad || h.Text != want {
			t.Errorf("health %+v", h)
		}
		if want := start.Add(labLead + labTimeout); !h.Since.Equal(want) {
			t.Errorf("bad since %v, want %v", h.Since, want)
		}
	})
}

// A box without a network knows at once.
func TestUpstreamNoNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newLabNet(t).upstream("192.0.2.1", "2001:db8::1")
		start := time.Now()
		_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
		if err == nil || time.Since(start) != 0 || errors.Is(err, errUpstreamTimeout) {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		if h := u.health(); !strings.HasPrefix(h.Text, "no route to 192.0.2.1, 2001:db8::1: ") {
			t.Errorf("health %+v", h)
		}
	})
}

// A connection whose packets are dropped, as a router does that was restarted.
func TestUpstreamBlackHole(t *testing.T) {
	t.Run("found by a question", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newLabNet(t)
			var resumed bool
			h := n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) {
				resumed = r.TLS.DidResume
				labAnswer(w, r)
			})
			u := n.upstream("192.0.2.1")
			mustAsk(t, u)
			h.blackhole()
			_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
			var ue *upstreamError
			if !errors.As(err, &ue) || ue.fault != upstreamNoAnswer || !errors.Is(err, errUpstreamTimeout) {
				t.Errorf("error %v, want no answer", err)
			}
			mustAsk(t, u)
			if got := u.stats().Connections; got != 2 {
				t.Errorf("%d connections, want a new one", got)
			}
			if !resumed {
				t.Error("the new connection took a whole handshake")
			}
			synctest.Wait()
			if old := h.links[0]; !old.down.broken {
				t.Error("the dead connection was not closed")
			}
		})
	})
	t.Run("found by a ping", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newLabNet(t)
			h := n.serve("192.0.2.1", labAnswer)
			u := n.upstream("192.0.2.1")
			mustAsk(t, u)
			h.blackhole()
			time.Sleep(upstreamPing + upstreamPingTimeout)
			synctest.Wait()
			start := time.Now()
			mustAsk(t, u)
			if took, got := time.Since(start), u.stats(); took != 0 || got.Connections != 2 || got.Failures != 0 {
				t.Errorf("it took %v, stats %+v", took, got)
			}
		})
	})
	t.Run("a live one is kept", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newLabNet(t)
			n.serve("192.0.2.1", labAnswer)
			u := n.upstream("192.0.2.1")
			mustAsk(t, u)
			time.Sleep(upstreamIdle - time.Second)
			mustAsk(t, u)
			if got := u.stats().Connections; got != 1 {
				t.Errorf("%d connections", got)
			}
			time.Sleep(upstreamIdle + time.Second)
			synctest.Wait()
			if u.servers[0].conn.http.Usable() {
				t.Error("a connection that nobody needs is kept")
			}
			mustAsk(t, u)
			if got := u.stats(); got.Connections != 2 || got.Failures != 0 {
				t.Errorf("stats %+v", got)
			}
		})
	})
	t.Run("with a way around", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newLabNet(t)
			h := n.serve("192.0.2.1", labAnswer)
			n.serve("192.0.2.2", labAnswer)
			u := n.upstream("192.0.2.1", "192.0.2.2")
			mustAsk(t, u)
			h.blackhole()
			for i, want := range []time.Duration{upstreamHedge, 0, 0} {
				start := time.Now()
				mustAsk(t, u)
				if got := time.Since(start); got != want {
					t.Errorf("question %d took %v, want %v", i, got, want)
				}
			}
		})
	})
}

// A name that nobody can resolve in time is not the connection's fault if others were
// answered on it, and nothing is known of that if there were none.
func TestUpstreamSlowName(t *testing.T) {
	for _, tt := range []struct {
		name        string
		others      bool
		connections uint64
		state       decision.State
	}{
		{"with others", true, 1, decision.Warn},
		{"alone", false, 2, decision.Bad},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newLabNet(t)
				var slow atomic.Bool
				n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) {
					if slow.CompareAndSwap(true, false) {
						<-r.Context().Done()
						return
					}
					labAnswer(w, r)
				})
				u := n.upstream("192.0.2.1")
				mustAsk(t, u)
				slow.Store(true)
				done := make(chan error)
				go func() {
					_, err := u.exchange(t.Context(), "slow.example.test", dns.TypeA)
					done <- err
				}()
				synctest.Wait()
				time.Sleep(time.Second)
				if tt.others {
					mustAsk(t, u)
				}
				if err := <-done; !errors.Is(err, errUpstreamTimeout) {
					t.Errorf("error %v", err)
				}
				if h := u.health(); h.State != tt.state {
					t.Errorf("health %+v, want %v", h, tt.state)
				}
				mustAsk(t, u)
				if got := u.stats().Connections; got != tt.connections {
					t.Errorf("%d connections, want %d", got, tt.connections)
				}
			})
		})
	}
}

// Whoever lost the race is cancelled; its connection is not.
func TestUpstreamLoser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		var cancelled, answer atomic.Bool
		n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) {
			if answer.Load() {
				labAnswer(w, r)
				return
			}
			<-r.Context().Done()
			cancelled.Store(true)
		})
		second := n.serve("192.0.2.2", labAnswer)
		u := n.upstream("192.0.2.1", "192.0.2.2")
		mustAsk(t, u)
		synctest.Wait()
		if !cancelled.Load() {
			t.Error("the loser's request goes on")
		}
		if s := u.servers[0]; s.err != nil || s.conn.users != 0 {
			t.Errorf("the loser has error %v and %d users", s.err, s.conn.users)
		}
		answer.Store(true)
		second.set(syscall.ECONNREFUSED, false)
		second.each(func(l *labLink) { l.cut() })
		synctest.Wait()
		mustAsk(t, u)
		if got := u.stats().Connections; got != 2 {
			t.Errorf("%d connections, want one to each", got)
		}
	})
}

// A connection that the server closed while it rested costs no failure.
func TestUpstreamReconnect(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first func(http.ResponseWriter, *http.Request) // the answer to the second question
	}{
		{"reset stream", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"goaway", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close") // net/http's way to say GOAWAY
			labAnswer(w, r)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newLabNet(t)
				var asked atomic.Int32
				n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) {
					if asked.Add(1) == 2 {
						tt.first(w, r)
						return
					}
					labAnswer(w, r)
				})
				u := n.upstream("192.0.2.1")
				for range 3 {
					mustAsk(t, u)
					synctest.Wait()
				}
				if got := u.stats(); got.Connections != 2 || got.Failures != 0 || got.Exchanges != 3 {
					t.Errorf("stats %+v", got)
				}
				if h := u.health(); h.State != decision.OK {
					t.Errorf("health %+v", h)
				}
			})
		})
	}
}

// A server that breaks every connection gets two requests, not more.
func TestUpstreamOneRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		var asked atomic.Int32
		n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == 1 {
				labAnswer(w, r)
				return
			}
			panic(http.ErrAbortHandler)
		})
		u := n.upstream("192.0.2.1")
		mustAsk(t, u)
		_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
		var ue *upstreamError
		if !errors.As(err, &ue) || ue.fault != upstreamBroken {
			t.Errorf("error %v", err)
		}
		if got := asked.Load(); got != 3 {
			t.Errorf("asked %d times, want 1 and 2", got)
		}
	})
}

// Questions that come before there is a connection share one.
func TestUpstreamColdStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		n.serve("192.0.2.1", labAnswer).delay = 100 * time.Millisecond
		u := n.upstream("192.0.2.1")
		var all sync.WaitGroup
		for range upstreamInFlight {
			all.Go(func() { mustAsk(t, u) })
		}
		all.Wait()
		if got := u.stats(); got.Connections != 1 || got.Exchanges != upstreamInFlight {
			t.Errorf("stats %+v", got)
		}
	})
}

// A line so slow that connecting takes the time of a whole exchange still gets there.
func TestUpstreamSlowConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		n.serve("192.0.2.1", labAnswer).delay = labTimeout - time.Millisecond
		u := n.upstream("192.0.2.1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := u.exchange(ctx, "api.example.test", dns.TypeA); !errors.Is(err, errUpstreamTimeout) {
			t.Errorf("error %v", err)
		}
		mustAsk(t, u)
		if got := u.stats().Connections; got != 1 {
			t.Errorf("%d connections", got)
		}
	})
}

// No more than so many are under way, so many wait, and the rest is told at once.
func TestUpstreamBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		var now, most atomic.Int32
		release := make(chan struct{})
		n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			select {
			case <-release:
				labAnswer(w, r)
			case <-r.Context().Done():
			}
		})
		u := n.upstream("192.0.2.1")
		results := make(chan error, upstreamInFlight+upstreamWaiting)
		for range cap(results) {
			go func() {
				_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
				results <- err
			}()
		}
		synctest.Wait()
		if got := now.Load(); got != upstreamInFlight {
			t.Fatalf("%d requests at the server, want %d", got, upstreamInFlight)
		}
		if _, err := u.exchange(t.Context(), "one.more.test", dns.TypeA); err != errUpstreamBusy {
			t.Errorf("one more: %v", err)
		}
		close(release)
		for range cap(results) {
			if err := <-results; err != nil {
				t.Errorf("one that waited: %v", err)
			}
		}
		if got := most.Load(); got != upstreamInFlight {
			t.Errorf("up to %d requests at once", got)
		}
		if got := u.stats(); got.Busy != 1 || got.Exchanges != upstreamInFlight+upstreamWaiting {
			t.Errorf("stats %+v", got)
		}
	})
}

// Who waits for a place does so no longer than an exchange takes, or the caller wants.
func TestUpstreamWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		u := n.upstream("192.0.2.1")
		ask := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := u.exchange(ctx, "api.example.test", dns.TypeA)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		u.places = make(chan struct{}, 1)
		u.places <- struct{}{} // somebody who stays
		late := ask(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		gone := ask(ctx)
		start := time.Now()
		cancel()
		if err := <-gone; err != context.Canceled {
			t.Errorf("cancelled: %v", err)
		}
		if err := <-late; !errors.Is(err, errUpstreamBusy) || time.Since(start) != labTimeout {
			t.Errorf("late: %v after %v", err, time.Since(start))
		}
		closed := ask(t.Context())
		u.close()
		if err := <-closed; err != errUpstreamClosed {
			t.Errorf("closed: %v", err)
		}
		if u.waiting != 0 {
			t.Errorf("%d are still waiting", u.waiting)
		}
	})
}

// A caller that gives up is no failure of the server.
func TestUpstreamCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		n.serve("192.0.2.2", labAnswer).set(syscall.ECONNREFUSED, false)
		u := n.upstream("192.0.2.1", "192.0.2.2")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := u.exchange(ctx, "api.example.test", dns.TypeA); err != context.Canceled {
			t.Errorf("error %v", err)
		}
		if got := u.stats(); got.Exchanges != 0 || got.Failures != 0 || u.servers[0].err != nil {
			t.Errorf("stats %+v, server's error %v", got, u.servers[0].err)
		}
		if h := u.health(); h.State != decision.OK {
			t.Errorf("health %+v", h)
		}
	})
}

// close ends what is under way, in whatever state. The bubble fails the test when a
// goroutine is left behind.
func TestUpstreamClose(t *testing.T) {
	for _, tt := range []struct {
		name string
		lost bool
	}{{"connected", false}, {"connecting", true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newLabNet(t)
				h := n.serve("192.0.2.1", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
				h.set(nil, tt.lost)
				u := n.upstream("192.0.2.1")
				done := make(chan error)
				go func() {
					_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
					done <- err
				}()
				time.Sleep(time.Millisecond)
				start := time.Now()
				u.close()
				if err := <-done; err != errUpstreamClosed || time.Since(start) != 0 {
					t.Errorf("under way: %v after %v", err, time.Since(start))
				}
				h.each(func(l *labLink) {
					if !l.down.broken {
						t.Error("a connection stays open")
					}
				})
				if _, err := u.exchange(t.Context(), "api.example.test", dns.TypeA); err != errUpstreamClosed {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

func TestUpstreamOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newLabNet(t).upstream("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
		order := func() (s string) {
			for _, s1 := range u.order() {
				s += s1.addr.Addr().String()[8:]
			}
			return s
		}
		start := time.Now()
		if got := order(); got != "1234" {
			t.Errorf("at the start %s", got)
		}
		u.servers[1].answered = start
		u.servers[3].answered = start.Add(-time.Second)
		if got := order(); got != "2413" {
			t.Errorf("last answers first: %s", got)
		}
		u.servers[1].failed = start
		u.servers[0].failed = start.Add(-time.Second)
		if got := order(); got != "4312" {
			t.Errorf("failures last: %s", got)
		}
		time.Sleep(upstreamPenalty + 1)
		if got := order(); got != "2413" {
			t.Errorf("after the penalty: %s", got)
		}
	})
}

// An outage and the return, as people see it.
func TestUpstreamHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		first, second := n.serve("192.0.2.1", labAnswer), n.serve("192.0.2.2", labAnswer)
		u := n.upstream("192.0.2.1", "192.0.2.2", "2001:db8::1")
		expect := func(state decision.State, since time.Time, text string) {
			t.Helper()
			if h := u.health(); h.Part != "upstream" || h.State != state || h.Text != text || !since.IsZero() && !h.Since.Equal(since.Add(labLead)) || since.IsZero() != h.Since.IsZero() {
				t.Errorf("health %v %q since %v, want %v %q since %v", h.State, h.Text, h.Since, state, text, since)
			}
		}
		ask := func() error {
			_, err := u.exchange(t.Context(), "api.example.test", dns.TypeA)
			synctest.Wait()
			return err
		}
		cut := func(h *labHost, err error) {
			h.set(err, false)
			h.each(func(l *labLink) { l.cut() })
			synctest.Wait()
		}
		expect(decision.OK, time.Time{}, "not asked yet")
		ask()
		expect(decision.OK, time.Time{}, "answers from 192.0.2.1 in 0s")

		time.Sleep(time.Minute)
		cut(first, syscall.ECONNREFUSED)
		part := time.Now()
		ask()
		const refused = "dns.test at 192.0.2.1: connection refused; a firewall on the way may do it: have it let the box out to TCP 443 there"
		expect(decision.Warn, part, "answers from 192.0.2.2; but "+refused)

		time.Sleep(time.Minute)
		cut(second, syscall.ECONNREFUSED)
		all := time.Now()
		for range 2 {
			if err := ask(); err == nil || err.Error() != "dns.test at 192.0.2.2: connection refused" && err.Error() != "dns.test at 192.0.2.1: connection refused" {
				t.Errorf("error %v", err)
			}
			expect(decision.Bad, all, strings.Replace(refused, "192.0.2.1", "192.0.2.1, 192.0.2.2", 1))
			time.Sleep(time.Minute)
		}

		second.set(nil, false)
		back := time.Now()
		ask()
		// What failed while all of them did says nothing of the time since.
		expect(decision.OK, back, "answers from 192.0.2.2 in 0s")
		u.servers[0].failed = u.since.Add(u.timeout) // the end of an attempt of before
		expect(decision.OK, back, "answers from 192.0.2.2 in 0s")
		u.servers[0].failed = u.since.Add(u.timeout + 1)
		expect(decision.Warn, part, "answers from 192.0.2.2; but "+refused)
		if got := u.stats(); got.Exchanges != 5 || got.Failures != 2 {
			t.Errorf("stats %+v", got)
		}
	})
}

// A store without IPv6 is no less well for it.
func TestUpstreamHealthOneFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(t)
		n.serve("192.0.2.1", labAnswer)
		u := n.upstream("2001:db8::1", "192.0.2.1")
		mustAsk(t, u)
		if h := u.health(); h.State != decision.OK || u.servers[0].err == nil {
			t.Errorf("health %+v, error %v", h, u.servers[0].err)
		}
	})
}
