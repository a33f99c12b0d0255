package ntprelay

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"tillgate/internal/clock"
	"tillgate/internal/storelab"
)

// remote serves on the loopback interface: answer makes the datagrams that go back.
func remote(t testing.TB, network string, answer func(request []byte) [][]byte) netip.AddrPort {
	t.Helper()
	host := map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0"}[network]
	conn, err := net.ListenPacket(network, host)
	if err != nil {
		storelab.Skip(t, "no loopback of that family: "+err.Error())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1024)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, datagram := range answer(buf[:n]) {
				conn.WriteTo(datagram, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// good is the reply of a good server that is ahead of this machine's clock.
func good(request []byte, ahead time.Duration) header {
	now := time.Now().Add(ahead)
	return header{version: 4, mode: server, stratum: 2, precision: -23, refID: 0x05060708,
		rootDelay: 0x4000, rootDispersion: 0x0800, reference: stampOf(now.Add(-time.Minute)),
		origin: parseHeader(request).transmit, receive: stampOf(now), transmit: stampOf(now)}
}

func (h header) bytes() []byte {
	b := make([]byte, headerSize)
	h.put(b)
	return b
}

func machine() *asker { return &asker{raw: clock.New(clock.Config{}).Raw, wall: time.Now} }

// however far the server's time is from the system's, the sample is right.
func TestAskOffset(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name    string
		network string
		ahead   time.Duration
	}{
		{"right", "udp4", 0},
		{"IPv6", "udp6", 0},
		{"a second behind", "udp4", -time.Second},
		{"fifty years behind", "udp4", -50 * 365 * 24 * time.Hour},
		{"fifty years ahead", "udp4", 50 * 365 * 24 * time.Hour},
		{"at the turn of the era", "udp4", time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC).Sub(now)},
		{"in the next era", "udp4", time.Date(2036, 2, 7, 6, 28, 30, 0, time.UTC).Sub(now)},
		{"in the year 2100", "udp4", time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Sub(now)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := remote(t, tt.network, func(request []byte) [][]byte {
				return [][]byte{good(request, tt.ahead).bytes()}
			})
			a := machine()
			s, err := a.ask(t.Context(), to)
			if err != nil {
				t.Fatal(err)
			}
			m := a.now()
			// The server reads this machine's clock, so the bound is the round trip's half.
			want := m.wall.Add(s.Raw - m.raw).Add(tt.ahead)
			if off := s.Time.Sub(want).Abs(); off > s.Delay/2+time.Millisecond {
				t.Errorf("the sample is off by %v, with a delay of %v", off, s.Delay)
			}
			if s.Delay < 0 || s.Delay > time.Second {
				t.Errorf("delay %v", s.Delay)
			}
			if age := s.Time.Sub(s.RefTime); (age - time.Minute).Abs() > time.Second {
				t.Errorf("reference time %v is %v before the time", s.RefTime, age)
			}
			if s.RootDispersion < 31250*time.Microsecond {
				t.Errorf("root dispersion %v, less than the server's", s.RootDispersion)
			}
			s.RefTime, s.Raw, s.Delay, s.Time, s.RootDispersion = time.Time{}, 0, 0, time.Time{}, 0
			want2 := clock.Sample{Server: to.Addr(), RootDelay: 250 * time.Millisecond,
				Precision: time.Second >> 23, Stratum: 2, RefID: 0x05060708}
			if s != want2 {
				t.Errorf("sample %+v, want %+v", s, want2)
			}
		})
	}
}

// What a server takes to answer is no delay.
func TestAskHeld(t *testing.T) {
	held := make(chan time.Duration, 1)
	to := remote(t, "udp4", func(request []byte) [][]byte {
		h := good(request, 0)
		for h.transmit.sub(h.receive) < 20*time.Millisecond { // it is at work
			h.transmit = stampOf(time.Now())
		}
		held <- h.transmit.sub(h.receive)
		return [][]byte{h.bytes()}
	})
	a := machine()
	begin := a.raw()
	s, err := a.ask(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if most := a.raw() - begin - <-held + time.Millisecond; s.Delay < 0 || s.Delay > most {
		t.Errorf("delay %v; it can't be more than %v", s.Delay, most)
	}
}

// What follows the header is not read: extension fields, an authenticator.
func TestAskLongReply(t *testing.T) {
	to := remote(t, "udp4", func(request []byte) [][]byte {
		return [][]byte{append(good(request, 0).bytes(), make([]byte, 20)...)}
	})
	if _, err := machine().ask(t.Context(), to); err != nil {
		t.Error(err)
	}
}

// A request tells nothing of this box, and its nonce is new each time.
func TestAskRequest(t *testing.T) {
	requests := make(chan []byte, 2)
	to := remote(t, "udp4", func(request []byte) [][]byte {
		requests <- bytes.Clone(request)
		return [][]byte{good(request, 0).bytes()}
	})
	for range 2 {
		if _, err := machine().ask(t.Context(), to); err != nil {
			t.Fatal(err)
		}
	}
	first, second := <-requests, <-requests
	if bytes.Equal(first[transmitAt:], second[transmitAt:]) {
		t.Error("the nonce is the same again")
	}
	binary.BigEndian.PutUint64(first[transmitAt:], 0)
	want := make([]byte, headerSize)
	want[0] = 4<<3 | byte(client)
	if !bytes.Equal(first, want) {
		t.Errorf("request % x", first)
	}
}

// Where the two clocks can't be read at once, the sample says so.
func TestAskStalls(t *testing.T) {
	to := remote(t, "udp4", func(request []byte) [][]byte { return [][]byte{good(request, 0).bytes()} })
	a := machine()
	raw, stalled := a.raw, time.Duration(0)
	a.raw = func() time.Duration {
		stalled += 10 * time.Millisecond
		return raw() + stalled
	}
	a.wall = func() time.Time { return time.Now().Add(stalled) }
	s, err := a.ask(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	// Half of a stall before the request, and half of one after the reply.
	if want := 31250*time.Microsecond + 10*time.Millisecond; s.RootDispersion < want {
		t.Errorf("root dispersion %v, want at least %v", s.RootDispersion, want)
	}
}

// A step of the system's clock under an exchange spoils it, a slew does not.
func TestAskStep(t *testing.T) {
	to := remote(t, "udp4", func(request []byte) [][]byte { return [][]byte{good(request, 0).bytes()} })
	for _, tt := range []struct {
		name string
		by   time.Duration
		want error
	}{
		{"none", 0, nil},
		{"slewed", 500 * time.Microsecond, nil},
		{"ahead", 2 * time.Second, errStepped},
		{"back", -2 * time.Second, errStepped},
		{"from 1970", 56 * 365 * 24 * time.Hour, errStepped},
	} {
		a, reads := machine(), 0
		raw := a.raw
		a.raw = func() time.Duration { return raw() }
		a.wall = func() time.Time {
			if reads++; reads > 1 { // the first is before the request
				return time.Now().Add(tt.by)
			}
			return time.Now()
		}
		// One read of each suffices if raw stands still while it is read.
		frozen := raw()
		n := 0
		a.raw = func() time.Duration {
			if n++; n%2 == 1 {
				frozen = raw()
			}
			return frozen
		}
		if _, err := a.ask(t.Context(), to); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// Nobody answers: the end of ctx ends the wait.
func TestAskEnds(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("the box stops")
	to := remote(t, "udp4", func([]byte) [][]byte { cancel(stop); return nil })
	if _, err := machine().ask(ctx, to); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

// A port at which nobody is says so at once.
func TestAskNobody(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	conn.Close()
	want := "asking " + to.String() + ": connection refused"
	if _, err := machine().ask(t.Context(), to); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestStampAge(t *testing.T) {
	at := func(y int) time.Time { return time.Date(y, 5, 6, 7, 8, 9, 500, time.UTC) }
	for _, tt := range []struct {
		name         string
		now, stamped time.Time
		want         time.Duration
	}{
		{"now", at(2026), at(2026), 0},
		{"a moment ago", at(2026), at(2026).Add(-1500 * time.Millisecond), 1500 * time.Millisecond},
		{"in the future", at(2026), at(2026).Add(time.Nanosecond), -time.Nanosecond},
		{"of 32 bits after 2038", at(2040), time.Unix(int64(int32(at(2040).Unix())), 499), time.Nanosecond},
		{"of 32 bits in 2200", at(2200), time.Unix(int64(int32(at(2200).Unix())), 0), 500 * time.Nanosecond},
	} {
		if got := stampAge(tt.now, tt.stamped); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The box is no server of its own, by whatever address.
func TestAskSelf(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if _, err := machine().ask(t.Context(), netip.AddrPortFrom(p.Addr(), 123)); !errors.Is(err, errSelf) {
			t.Errorf("asking %v: %v", p.Addr(), err)
		}
		return
	}
	storelab.Skip(t, "the machine has no address but its loopback's")
}

// All of it together, with the machine's clocks and a network: the time is known, and is
// that of the server.
func TestRelayAsks(t *testing.T) {
	const ahead = 3 * 365 * 24 * time.Hour
	to := remote(t, "udp4", func(request []byte) [][]byte { return [][]byte{good(request, ahead).bytes()} })
	b := newBench(t)
	c := clock.New(clock.Config{})
	r, err := New(Config{Servers: []string{to.Addr().String()}, Port: to.Port()}, Deps{
		Policy: b.deps.Policy, Clock: c, Lookup: b.deps.Lookup, Records: b.deps.Records, Log: b.deps.Log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Serve(ctx) }()
	if err := c.Wait(ctx, clock.Fine); err != nil {
		t.Fatal(err)
	}
	if off := c.Now().Sub(time.Now().Add(ahead)).Abs(); off > c.Estimate().Error(c.Raw()) {
		t.Errorf("the time is off by %v", off)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
