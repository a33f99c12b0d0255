package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tillgate/internal/storelab"
)

// An offset is what one answer with the time was wrong by, and what it said that it might
// be. Everything in the lab has the same clock, so the truth is known.
type offset struct{ wrong, bound time.Duration }

// offsets asks a time server so often, one question at a time.
func offsets(term *storelab.Terminal, server netip.AddrPort, n int) (all []offset, err error) {
	err = term.Do(func() error {
		c, err := net.Dial("udp", server.String())
		if err != nil {
			return err
		}
		defer c.Close()
		packet := make([]byte, 256)
		for range n {
			clear(packet[:48])
			packet[0] = 4<<3 | 3
			sent := time.Now()
			binary.BigEndian.PutUint64(packet[40:], ntpTime(sent))
			if _, err := c.Write(packet[:48]); err != nil {
				return err
			}
			c.SetReadDeadline(sent.Add(2 * time.Second))
			if _, err := c.Read(packet); err != nil {
				return err
			}
			came := time.Now()
			if packet[0]>>6 == 3 {
				return errors.New("no time")
			}
			received, transmitted := timeAt(packet[32:]), timeAt(packet[40:])
			short := func(b []byte) time.Duration { // RFC 5905 section 6
				return time.Duration(binary.BigEndian.Uint32(b)) * time.Second >> 16
			}
			delay := came.Sub(sent) - transmitted.Sub(received)
			all = append(all, offset{
				wrong: ((received.Sub(sent) + transmitted.Sub(came)) / 2).Abs(),
				bound: short(packet[4:])/2 + short(packet[8:]) + delay/2,
			})
		}
		return nil
	})
	return all, err
}

// TestStoreOffset compares the time that the box serves with the truth, beside a chronyd
// that has the same servers and serves the same terminal.
func TestStoreOffset(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.Time(t, timeServers...)
	store.Box.Write(t, settingsFile, "time: {rate: 0}\n")
	store.Box.Start(t)
	sunmi := store.Terminal(t, "sunmi")

	const chronyPort = 1123
	config := fmt.Sprintf("port %d\nallow all\ncmdport 0\npidfile %s/chrony-relay.pid\n", chronyPort, store.Dir())
	for _, name := range timeServers {
		a4, _ := store.Internet.Addr(t, name)
		config += fmt.Sprintf("server %s iburst\n", a4)
	}
	file := filepath.Join(store.Dir(), "chrony-relay.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	store.Box.Host.Start(t, "chronyd", "-x", "-d", "-u", "root", "-f", file)

	servers := []struct {
		name string
		addr netip.AddrPort
		got  []offset
	}{
		{name: "tillgate", addr: netip.AddrPortFrom(sunmi.Box4, 123)},
		{name: "chronyd", addr: netip.AddrPortFrom(sunmi.Box4, chronyPort)},
	}
	for _, s := range servers {
		waitFor(t, func() bool {
			_, err := offsets(sunmi, s.addr, 1)
			return err == nil
		})
	}
	const rounds, each = 20, 50 // side by side
	for range rounds {
		for i := range servers {
			waitFor(t, func() bool { // a packet may get lost on a busy machine
				got, err := offsets(sunmi, servers[i].addr, each)
				if err == nil {
					servers[i].got = append(servers[i].got, got...)
				}
				return err == nil
			})
		}
	}
	for i, o := range servers[0].got {
		if o.wrong > o.bound {
			t.Errorf("answer %d is wrong by %v, and said at most %v", i, o.wrong, o.bound)
		}
	}
	for _, s := range servers {
		slices.SortFunc(s.got, func(a, b offset) int { return int(a.wrong - b.wrong) })
		t.Logf("%s: of %d answers the median is wrong by %v, the worst by %v", s.name, len(s.got), s.got[len(s.got)/2].wrong, s.got[len(s.got)-1].wrong)
	}
}
