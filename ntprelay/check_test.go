package ntprelay

import (
	"fmt"
	"testing"
	"time"
)

// time5 is how long an exchange takes.
const time5 = 5 * time.Millisecond

// A clientCheck is what a client looks at before it takes an answer, by its source. It
// returns why it does not.
type clientCheck struct {
	name    string
	version uint8 // that it sends
	check   func(asked, got *header, delay time.Duration) string
	takes   func(asked *header) bool // answers to such a request at all
}

func every(*header) bool { return true }

// some have their own rules for what they send.
func own(asked *header) bool { return asked.transmit != 0 }

var clientChecks = []clientCheck{
	// android.net.SntpClient, checkValidServerReply (AOSP, frameworks/base). Its clock
	// never shows zero.
	{"Android", 3, func(asked, got *header, _ time.Duration) string {
		switch {
		case got.leap == 3:
			return "unsynchronized server"
		case got.mode != 4 && got.mode != 5:
			return "untrusted mode"
		case got.stratum == 0 || got.stratum > 15:
			return "untrusted stratum"
		case got.origin != asked.transmit:
			return "originate timestamp"
		case got.transmit == 0:
			return "zero transmit timestamp"
		case got.reference == 0:
			return "zero reference timestamp"
		}
		return ""
	}, every},
	// systemd-timesyncd, manager_receive_response (src/timesync/timesyncd-manager.c).
	{"systemd-timesyncd", 4, func(asked, got *header, _ time.Duration) string {
		const epoch = 1420070400 + unixEpoch // TIME_EPOCH of a build, at the earliest
		switch {
		case got.origin != asked.transmit:
			return "not our transmit time"
		case got.receive>>32 < epoch || got.transmit>>32 < epoch:
			return "returned times before epoch"
		case got.leap == 3 || got.stratum == 0 || got.stratum >= 16:
			return "not synchronized"
		case got.version != 3 && got.version != 4:
			return "version"
		case got.mode != 4:
			return "unsupported mode"
		case got.rootDelay.duration()/2+got.rootDispersion.duration() > 5*time.Second:
			return "too large root distance"
		}
		return ""
	}, func(asked *header) bool { return asked.version >= 3 }},
	// chrony, receive_packet (ntp_core.c): tests 1 to 7, A and D; B and C compare with
	// earlier answers.
	{"chrony", 4, func(asked, got *header, delay time.Duration) string {
		distance := got.rootDelay.duration()/2 + got.rootDispersion.duration()
		took := got.transmit.sub(got.receive)
		switch {
		case got.version != asked.version:
			return "version"
		case got.origin != asked.transmit:
			return "test 2: bogus"
		case got.origin == 0 || got.receive == 0 || got.transmit == 0:
			return "test 3: invalid timestamps"
		case got.leap == 3 || got.stratum == 0 || got.stratum >= 16:
			return "test 6: unsynchronised"
		case distance >= 16*time.Second:
			return "test 7: root distance"
		case delay-took > 3*time.Second || took > 4*time.Second || took < 0:
			return "test A: delay, or time in the server"
		case got.stratum > 1 && got.refID == 0x0a000005:
			return "test D: synchronised to us"
		case distance+delay/2 > 3*time.Second:
			return "maxdistance"
		}
		return ""
	}, own},
	// instacart/truetime, SntpClient.requestTime.
	{"truetime", 3, func(asked, got *header, delay time.Duration) string {
		took := got.transmit.sub(got.receive)
		switch {
		case got.origin != asked.transmit:
			return "originate time"
		case got.rootDelay.duration() > 100*time.Millisecond:
			return "root delay"
		case got.rootDispersion.duration() > 100*time.Millisecond:
			return "root dispersion"
		case got.mode != 4 && got.mode != 5:
			return "mode"
		case got.stratum < 1 || got.stratum > 15:
			return "stratum"
		case got.leap == 3:
			return "leap"
		case (delay - took).Abs() >= 200*time.Millisecond:
			return "server response delay"
		}
		return ""
	}, every},
	// busybox ntpd, recv_and_process_peer_pkt (networking/ntpd.c).
	{"busybox ntpd", 4, func(asked, got *header, _ time.Duration) string {
		switch {
		case got.origin != asked.transmit:
			return "not ours"
		case got.leap == 3 || got.stratum == 0 || got.stratum > 15:
			return "unsynced"
		case got.rootDelay.duration()/2+got.rootDispersion.duration() > 16*time.Second:
			return "too far away"
		}
		return ""
	}, every},
}

// Every client takes an answer when the box has the time, says so at once when it has not,
// and takes it again when the box has been without servers for a while.
func TestClientsTakeIt(t *testing.T) {
	for _, c := range clientChecks {
		for _, tt := range []struct {
			when  string
			after time.Duration // that the servers were last heard of
			takes bool
		}{
			{"at first", time.Millisecond, true},
			{"in an hour's outage", time.Hour, c.name != "truetime"}, // 100 ppm not known yet: 360 ms
			{"past the bound of its error", 4 * time.Hour, false},
		} {
			t.Run(fmt.Sprint(c.name, " ", tt.when), func(t *testing.T) {
				b := newBench(t)
				b.synchronise()
				b.pass(tt.after)
				request := packet(first(c.version, client), b.truth())
				b.parked.close()
				got := b.ask(till, request)
				if got == nil {
					t.Fatal("no answer")
				}
				asked := parseHeader(request)
				why := c.check(&asked, &got.header, time5)
				if (why == "") != tt.takes {
					t.Errorf("%+v: %q", got.header, why)
				}
				// An answer that is refused because of its mode or origin looks like none.
				if !tt.takes && c.name != "truetime" && got.leap != unknown {
					t.Errorf("%+v: not told that there is no time", got.header)
				}
			})
		}
	}
}

// Windows (type NTP without the client flag) asks as a symmetric peer and takes what comes
// back in mode 2 or 4 with its own transmit timestamp ([MS-SNTP] §3.1.5, RFC 1305 §3.4).
func TestWindows(t *testing.T) {
	b := newBench(t)
	b.synchronise()
	b.pass(time5)
	sent := b.truth().Add(-6 * time.Minute)
	got := b.ask(pos, packet(3<<6|first(3, symmetricActive), sent))
	if got == nil {
		t.Fatal("no answer")
	}
	if got.mode != symmetricPassive || got.version != 3 || got.leap != 0 || got.stratum != 3 || got.origin != stampOf(sent) {
		t.Errorf("answered %+v", got.header)
	}
}
