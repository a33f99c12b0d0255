package ntprelay

import (
	"bytes"
	"fmt"
	"testing"
)

// zeros are n bytes of nothing, of packets in hex.
func zeros(n int) string { return fmt.Sprintf("%0*d", 2*n, 0) }

func TestParse(t *testing.T) {
	const (
		cookie = "0204 0014" + "00112233445566778899aabbccddeeff"
		other  = "f323 0010" + "00112233445566778899aabb"
		md5    = "00000001" + "00112233445566778899aabbccddeeff"
		sha1   = "00000001" + "00112233445566778899aabbccddeeff00112233"
	)
	for _, tt := range []struct {
		name   string
		packet string
		port   uint16
		want   fault
		mode   mode // of the answer
	}{
		{"Android, version 3", "1b" + zeros(47), 40000, sound, server},
		{"version 4", "23" + zeros(47), 40000, sound, server},
		{"from a server's port", "23" + zeros(47), 123, sound, server},
		{"of a client that has no time itself", "e3" + zeros(47), 40000, sound, server},
		{"version 2", "13" + zeros(47), 40000, sound, server},
		{"version 1 with a mode", "0b" + zeros(47), 40000, sound, server},
		{"version 1 without", "08" + zeros(47), 40000, sound, server},
		{"version 1 without, from a server's port", "08" + zeros(47), 123, noRequest, 0},
		{"Windows, symmetric active", "d9" + zeros(47), 123, sound, symmetricPassive},
		{"version 0", "03" + zeros(47), 40000, badVersion, 0},
		{"version 5", "2b" + zeros(47), 40000, badVersion, 0},
		{"version 7", "3b" + zeros(47), 40000, badVersion, 0},
		{"mode 0 of version 4", "20" + zeros(47), 40000, noRequest, 0},
		{"symmetric passive", "22" + zeros(47), 123, noRequest, 0},
		{"an answer", "24" + zeros(47), 123, noRequest, 0},
		{"broadcast", "25" + zeros(47), 123, noRequest, 0},
		{"ntpq: a control message", "26" + zeros(47), 40000, noRequest, 0},
		{"ntpdc monlist", "27" + zeros(47), 40000, noRequest, 0},
		{"ntpq, 12 bytes", "1602" + zeros(10), 40000, badLength, 0},
		{"empty", "", 40000, badLength, 0},
		{"a byte short", "23" + zeros(46), 40000, badLength, 0},
		{"a byte too much", "23" + zeros(48), 40000, badLength, 0},
		{"an unknown extension field", "23" + zeros(47) + "f323 001c" + zeros(24), 40000, sound, server},
		{"two", "23" + zeros(47) + other + "f324 001c" + zeros(24), 40000, sound, server},
		{"version 3 had none", "1b" + zeros(47) + "f323 001c" + zeros(24), 40000, authenticated, 0},
		{"one of no length", "23" + zeros(47) + "f323 0000" + zeros(24), 40000, badExtension, 0},
		{"one of an odd length", "23" + zeros(47) + "f323 001a" + zeros(24), 40000, badExtension, 0},
		{"one that is longer than the packet", "23" + zeros(47) + "f323 0020" + zeros(24), 40000, badExtension, 0},
		{"half of one", "23" + zeros(47) + "f323 0008", 40000, badExtension, 0},
		{"and a rest", "23" + zeros(47) + "f323 001c" + zeros(24) + zeros(8), 40000, badExtension, 0},
		{"MD5", "23" + zeros(47) + md5, 40000, authenticated, 0},
		{"MD5, version 3", "1b" + zeros(47) + md5, 40000, authenticated, 0},
		{"SHA-1", "23" + zeros(47) + sha1, 40000, authenticated, 0},
		{"SHA-1 behind a field", "23" + zeros(47) + other + sha1, 40000, authenticated, 0},
		{"crypto-NAK", "23" + zeros(47) + zeros(4), 40000, authenticated, 0},
		{"NTS", "23" + zeros(47) + cookie + other, 40000, authenticated, 0},
	} {
		q := newBench(t).request(fmt.Sprint("10.0.0.5:", tt.port), unhex(t, tt.packet))
		if q.fault != tt.want || q.fault == sound && q.answerMode(tt.port) != tt.mode {
			t.Errorf("%s: %q and mode %d, want %q and %d", tt.name, q.fault, q.answerMode(tt.port), tt.want, tt.mode)
		}
	}
}

// Whatever comes in, no more bytes go out, at most one packet does, and every client takes
// what an answer to a good request is.
func FuzzServe(f *testing.F) {
	for _, s := range []string{
		"", "1b" + zeros(47), "23" + zeros(47), "d9" + zeros(47), "08" + zeros(47), "27" + zeros(47), "1602" + zeros(10),
		"23" + zeros(39) + "eee7137080000000",
		"23" + zeros(47) + "f323 001c" + zeros(24), "23" + zeros(47) + "0204 0014" + zeros(16), "1b" + zeros(67), "23" + zeros(51),
	} {
		f.Add(unhex(f, s), uint16(40000), true)
		f.Add(unhex(f, s), uint16(123), false)
	}
	f.Fuzz(func(t *testing.T, packet []byte, port uint16, fine bool) {
		b := newBench(t)
		if fine {
			b.synchronise()
		} else {
			b.parked.close()
		}
		before := bytes.Clone(packet)
		b.pass(time5)
		got := b.ask(fmt.Sprint("10.0.0.5:", port), packet)
		if !bytes.Equal(packet, before) {
			t.Error("the request was written to")
		}
		if len(b.sent) > 1 || len(b.records.take()) != 1 {
			t.Errorf("%d answers and %d records", len(b.sent), len(b.records.all))
		}
		if got == nil {
			return
		}
		if got.length > len(packet) {
			t.Errorf("%d bytes for %d", got.length, len(packet))
		}
		if got.mode != server && got.mode != symmetricPassive || got.version > 4 {
			t.Errorf("answered with mode %d, version %d", got.mode, got.version)
		}
		asked := parseHeader(packet)
		if asked.mode == client {
			for _, c := range clientChecks {
				if why := c.check(&asked, &got.header, time5); (why == "") != (fine && c.takes(&asked)) {
					t.Errorf("%s: %q", c.name, why)
				}
			}
		}
	})
}
