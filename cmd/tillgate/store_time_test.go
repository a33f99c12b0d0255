package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tillgate/console"
	"tillgate/internal/storelab"
)

// timeServers are four of the documented ones, which is one more than must agree.
var timeServers = []string{"pool.ntp.org", "uk.pool.ntp.org", "ntp1.inrim.it", "ntp.obspm.fr"}

// sntp asks once, as Android's SntpClient does: a packet of version 3 with the client's own
// time (its clock is off by so much), and 5 s of patience. It returns what the answer says
// the time is.
func sntp(term *storelab.Terminal, server netip.Addr, off time.Duration) (now time.Time, packet []byte, err error) {
	err = term.Do(func() error {
		c, err := net.Dial("udp", netip.AddrPortFrom(server, 123).String())
		if err != nil {
			return err
		}
		defer c.Close()
		request := make([]byte, 48)
		request[0] = 3<<3 | 3
		binary.BigEndian.PutUint64(request[40:], ntpTime(time.Now().Add(off)))
		sent := time.Now()
		if _, err := c.Write(request); err != nil {
			return err
		}
		c.SetReadDeadline(sent.Add(5 * time.Second))
		packet = make([]byte, 256)
		n, err := c.Read(packet)
		if err != nil {
			return err
		}
		if n != len(request) {
			return fmt.Errorf("an answer of %d bytes", n)
		}
		packet = packet[:n]
		// The time at the client is the middle of the server's two stamps, and half of what
		// the way took.
		received, transmitted := timeAt(packet[32:]), timeAt(packet[40:])
		now = transmitted.Add((time.Since(sent) - transmitted.Sub(received)) / 2)
		return androidRefuses(request, packet)
	})
	return now, packet, err
}

// androidRefuses is SntpClient.checkValidServerReply of Android, with the check of the
// origin in requestTime (AOSP, core/java/android/net/SntpClient.java).
func androidRefuses(request, reply []byte) error {
	leap, mode, stratum := reply[0]>>6, reply[0]&7, reply[1]
	switch {
	case leap == 3:
		return errors.New("unsynchronized server")
	case mode != 4 && mode != 5:
		return fmt.Errorf("untrusted mode: %d", mode)
	case stratum == 0 || stratum > 15:
		return fmt.Errorf("untrusted stratum: %d", stratum)
	case string(reply[24:32]) != string(request[40:48]):
		return errors.New("originate timestamp does not match")
	case binary.BigEndian.Uint64(reply[40:]) == 0:
		return errors.New("zero transmit timestamp")
	case binary.BigEndian.Uint64(reply[16:]) == 0:
		return errors.New("zero reference timestamp")
	}
	return nil
}

// timeOf is what the box says of the time.
func timeOf(t *testing.T, store *storelab.Store) console.TimeStatus {
	t.Helper()
	out, err := store.Box.Tillgate(t.Context(), "status", "--json")
	var s console.Status
	if jsonErr := json.Unmarshal([]byte(out), &s); jsonErr != nil {
		t.Fatalf("%v, %v", err, jsonErr)
	}
	return s.Time
}

// TestStoreTime has every kind of client take the box's time, and nobody who has none.
func TestStoreTime(t *testing.T) {
	t.Parallel()
	storelab.Need(t, "ntpdig")
	store := newStore(t)
	store.Time(t, timeServers...)
	store.Box.Write(t, settingsFile, "time: {rate: 0}\n")
	box := store.Box.Start(t)
	sunmi, pos, guest := store.Terminal(t, "sunmi"), store.Terminal(t, "pos"), store.Terminal(t, "guest")
	waitFor(t, func() bool { return timeOf(t, store).Level == "fine" })

	for _, server := range []netip.Addr{sunmi.Box4, sunmi.Box6} {
		now, packet, err := sntp(sunmi, server, 0)
		if off := time.Until(now); err != nil || off.Abs() > time.Second {
			t.Errorf("Android at %v: %v, off by %v", server, err, off)
		}
		if len(packet) == 48 && packet[1] != 2 {
			t.Errorf("stratum %d behind servers of 1", packet[1])
		}
	}
	// By name, too: a time server's leads to the box.
	for _, name := range timeServers[:2] {
		for qtype, want := range map[uint16]netip.Addr{dns.TypeA: sunmi.Box4, dns.TypeAAAA: sunmi.Box6} {
			server := sunmi.Box4
			if qtype == dns.TypeAAAA {
				server = sunmi.Box6
			}
			reply, err := ask(sunmi, "udp", server, question(name, qtype))
			if err != nil {
				t.Fatal(err)
			}
			if got, gist := addresses(reply); len(got) != 1 || got[0] != want || reply.Answer[0].Header().Ttl != 30 {
				t.Errorf("%s: %s, %v; want %v for 30 s", name, gist, reply.Answer, want)
			}
		}
	}
	for _, c := range []struct{ command, want string }{
		{"chronyd -Q -t 10 -f /dev/null 'server " + timeServers[0] + " iburst maxsamples 1' 2>&1", `System clock wrong by -?0\.\d+ seconds`},
		{"chronyd -Q -t 10 -f /dev/null 'server " + sunmi.Box6.String() + " iburst maxsamples 1' 2>&1", `System clock wrong by -?0\.\d+ seconds`},
		{"ntpdig -j " + sunmi.Box4.String(), `"offset":-?0\.\d+.*"stratum":2`},
	} {
		out, err := sunmi.Run(t.Context(), "sh", "-c", c.command)
		if err != nil || !regexp.MustCompile(c.want).MatchString(out) {
			t.Errorf("%s: %v, want %s in\n%s", c.command, err, c.want, out)
		}
	}

	// A terminal that tells what its clock shows is told of; one that may not have the time
	// hears nothing.
	const slow = -6*time.Minute - 30*time.Second
	for range 3 {
		if _, _, err := sntp(sunmi, sunmi.Box4, slow); err != nil {
			t.Error(err)
		}
	}
	for name, term := range map[string]*storelab.Terminal{"pos": pos, "guest": guest} {
		if err := silence(term, term.Box4); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	waitFor(t, func() bool {
		for _, c := range timeOf(t, store).Clients {
			if c.Client == sunmi.Addr4 && time.Duration(c.OffsetMs*1e6)-slow < time.Minute {
				return true
			}
		}
		return false
	})
	out, _ := store.Box.Tillgate(t.Context(), "status")
	if want := sunmi.Addr4.String() + " (sunmi) is 6m"; !strings.Contains(out, want) {
		t.Errorf("want %q in\n%s", want, out)
	}
	box.Stop(t)
	reasons := make(map[string]int)
	for _, r := range journal(t, store, "--plane", "ntp") {
		reasons[r.Verdict+" "+r.Reason+" "+r.Class+" "+r.Client] += max(r.Count, 1)
	}
	for _, want := range []string{
		"allow documented sunmi " + sunmi.Addr4.String(), "allow documented sunmi " + sunmi.Addr6.String(),
		"deny other-class pos " + pos.Addr4.String(), "deny unknown-client  " + guest.Addr4.String(),
	} {
		if reasons[want] == 0 {
			t.Errorf("no record of %q in %v", want, reasons)
		}
	}
	events := ""
	for _, r := range journal(t, store, "--plane", "system") {
		events += r.Event + ": " + r.Detail + "\n"
	}
	for _, want := range []string{`start: `, `time: trust in the time is coarse, was none: `, `time: trust in the time is fine, was (none|coarse): `} {
		if !regexp.MustCompile(want).MatchString(events) {
			t.Errorf("want %q among\n%s", want, events)
		}
	}
}

// silence asks, and is glad of no answer. Another question, which is answered, shows that
// the box has had it by then.
func silence(term *storelab.Terminal, server netip.Addr) error {
	return term.Do(func() error {
		c, err := net.Dial("udp", netip.AddrPortFrom(server, 123).String())
		if err != nil {
			return err
		}
		defer c.Close()
		request := make([]byte, 48)
		request[0], request[40] = 4<<3|3, 1
		c.Write(request)
		c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if n, err := c.Read(request); err == nil {
			return fmt.Errorf("answered with %x", request[:n])
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return nil
	})
}
