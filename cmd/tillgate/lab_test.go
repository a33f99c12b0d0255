package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// What a test has the program find in its environment, where it is this binary.
const (
	labClock    = "TILLGATE_LAB_CLOCK"     // what the system's clock is off by, a duration
	labTimePort = "TILLGATE_LAB_TIME_PORT" // of the time servers
	labConfirm  = "TILLGATE_LAB_CONFIRM"   // how long rules of the firewall wait to be confirmed
)

// inLab gives the process what its environment says of the lab.
func inLab(p *process) {
	if text := p.getenv(labClock); text != "" {
		off, err := time.ParseDuration(text)
		if err != nil {
			fmt.Fprintf(p.stderr, "%s: %v\n", labClock, err)
			os.Exit(statusUsage)
		}
		p.lab.machine.Wall = func() time.Time { return time.Now().Add(off) }
	}
	if text := p.getenv(labConfirm); text != "" {
		within, err := time.ParseDuration(text)
		if err != nil {
			fmt.Fprintf(p.stderr, "%s: %v\n", labConfirm, err)
			os.Exit(statusUsage)
		}
		p.lab.confirmWithin = within
	}
	if text := p.getenv(labTimePort); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			fmt.Fprintf(p.stderr, "%s: %v\n", labTimePort, err)
			os.Exit(statusUsage)
		}
		p.lab.timePort = uint16(port)
	}
}

// serveTime serves the right time on the loopback until the test ends, as a server with a
// reference clock would, and returns the port.
func serveTime(t *testing.T) uint16 {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		packet := make([]byte, 48)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(packet)
			if err != nil {
				return
			}
			if n < len(packet) {
				continue
			}
			now := ntpTime(time.Now())
			version := packet[0] & 0o70
			copy(packet[24:32], packet[40:48])
			packet[0], packet[1], packet[3] = version|4, 1, 0xec
			clear(packet[4:12])
			copy(packet[12:16], "GPS\x00")
			for _, at := range []int{16, 32, 40} { // reference, receive, transmit
				binary.BigEndian.PutUint64(packet[at:], now)
			}
			conn.WriteToUDPAddrPort(packet, from)
		}
	}()
	return uint16(conn.LocalAddr().(*net.UDPAddr).Port)
}

// unixEpoch is that of Unix in the seconds of packets.
const unixEpoch = 2_208_988_800

// ntpTime is a time as in a packet (RFC 5905 section 6).
func ntpTime(t time.Time) uint64 {
	return uint64(uint32(t.Unix()+unixEpoch))<<32 | uint64(t.Nanosecond())<<32/1e9
}

// timeAt reads what ntpTime has written.
func timeAt(b []byte) time.Time {
	stamp := binary.BigEndian.Uint64(b)
	return time.Unix(int64(stamp>>32)-unixEpoch, int64(stamp&0xffffffff*1e9>>32))
}
