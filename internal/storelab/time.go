package storelab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// chronyConfig serves the machine's own time as that of a server with a reference
// clock. It neither sets that clock nor listens for commands.
const chronyConfig = `local stratum 1
allow all
bindaddress %[1]s
bindaddress %[2]s
cmdport 0
pidfile %[3]s/pid
`

// Time starts chronyd as a time server behind each of the names that the store was made
// with, all of them right, and returns when they serve. One is ended by its Kill.
func (s *Store) Time(t TB, names ...string) []*Process {
	t.Helper()
	Need(t, "chronyd")
	var servers []*Process
	for _, name := range names {
		a4, a6 := s.Internet.Addr(t, name)
		dir := filepath.Join(s.dir, "chrony-"+name)
		file := filepath.Join(dir, "chrony.conf")
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = os.WriteFile(file, fmt.Appendf(nil, chronyConfig, a4, a6, dir), 0o644)
		}
		if err != nil {
			t.Fatalf("configuring chronyd: %v", err)
		}
		p := s.Internet.Start(t, "chronyd", "-x", "-d", "-u", "root", "-f", file)
		p.WaitFor(t, "Disabled control of system clock")
		servers = append(servers, p)
	}
	for _, name := range names {
		a4, _ := s.Internet.Addr(t, name)
		s.Internet.awaitTime(t, a4)
	}
	return servers
}

// awaitTime returns when a server answers. It asks from the Internet itself.
func (in *Internet) awaitTime(t TB, server netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := in.Dial(ctx, "udp", netip.AddrPortFrom(server, ntpPort).String())
	if err != nil {
		t.Fatalf("asking the time server at %v: %v", server, err)
	}
	defer c.Close()
	request := make([]byte, ntpSize)
	request[0] = 4<<3 | 3
	for reply := make([]byte, ntpSize); ctx.Err() == nil; {
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		c.Write(request)
		if n, err := c.Read(reply); err == nil && n == ntpSize && reply[0]>>6 != 3 {
			return
		}
	}
	t.Fatalf("the time server at %v does not answer", server)
}

const (
	ntpPort = 123
	ntpSize = 48 // bytes of a packet without extensions (RFC 5905 section 7.3)
	ntpUnix = 2_208_988_800
)

// ServeTime serves a time that is off by so much, behind a name that the store was made
// with. Whatever it is off by, it looks like a good server.
func (s *Store) ServeTime(t TB, name string, off time.Duration) {
	t.Helper()
	a4, a6 := s.Internet.Addr(t, name)
	for _, a := range []netip.Addr{a4, a6} {
		c, err := s.Internet.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(a, ntpPort).String())
		if err != nil {
			t.Fatalf("listening as a time server: %v", err)
		}
		t.Cleanup(func() { c.Close() })
		go AnswerTime(c, off)
	}
}

// AnswerTime is a time server that is off by so much, with a reference clock by what it says. It
// returns when the connection is closed.
func AnswerTime(c net.PacketConn, off time.Duration) {
	packet := make([]byte, ntpSize)
	for {
		n, from, err := c.ReadFrom(packet)
		if err != nil {
			return
		}
		if n < ntpSize {
			continue
		}
		now := NTPTime(time.Now().Add(off))
		version := packet[0] & 0o70
		copy(packet[24:32], packet[40:48]) // its transmit stamp is the origin
		packet[0], packet[1], packet[3] = version|4, 1, 0xe8
		clear(packet[4:12])
		copy(packet[12:16], "GPS\x00")
		for _, at := range []int{16, 32, 40} { // reference, receive, transmit
			binary.BigEndian.PutUint64(packet[at:], now)
		}
		c.WriteTo(packet, from)
	}
}

// NTPTime is a time as packets have it: seconds of an era of 1900, and their fraction.
func NTPTime(t time.Time) uint64 {
	return uint64(uint32(t.Unix()+ntpUnix))<<32 | uint64(t.Nanosecond())<<32/1e9
}
