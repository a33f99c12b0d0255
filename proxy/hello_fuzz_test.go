package proxy

import (
	"bytes"
	"crypto/tls"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tillgate/policy"
)

func FuzzHello(f *testing.F) {
	f.Add(handMade(serverName(hostName("a.example"))), uint16(0), uint16(1))
	f.Add(records(message(greaseECH(), serverName(hostName("B.example"))), 9), uint16(3), uint16(4))
	f.Add(append(handMade(), "early"...), uint16(60), uint16(2))
	f.Add(handMade(serverName(hostName("a.example"), hostName("b.example"))), uint16(1), uint16(100))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(0), uint16(1))
	f.Add(clientHello(f, &tls.Config{ServerName: "a.example"}), uint16(5), uint16(1460))
	f.Fuzz(func(t *testing.T, wire []byte, before, size uint16) {
		want, _, err := readHello(cut(wire, max(1, len(wire))), nil)
		wantReason := reasonOf(t, err)
		if name, ok := policy.WireName(want.Name); ok && name != want.Name {
			t.Errorf("%q is not canonical", want.Name)
		}

		// However it is cut, the verdict is the same and nothing is lost.
		n := min(int(before), len(wire))
		rest := cut(wire[n:], 1+int(size))
		got, raw, err := readHello(rest, wire[:n])
		if reason := reasonOf(t, err); reason != wantReason {
			t.Errorf("%q (%v) when cut, %q when whole", reason, err, wantReason)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("whole and cut differ:\n%s", diff)
		}
		if replay := append(raw, bytes.Join(rest.parts, nil)...); !bytes.Equal(replay, wire) {
			t.Errorf("%d bytes became %d", len(wire), len(replay))
		}
		if len(raw) > max(n, maxHello) {
			t.Errorf("read %d bytes", len(raw))
		}
	})
}
