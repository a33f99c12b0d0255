package firewall

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// message is a connection as the kernel tells of it, with what parseFlow leaves alone too.
func message(t testing.TB, family byte, source, dest string, status uint32) []byte {
	t.Helper()
	kinds := [2]uint16{ctaSource4, ctaDest4}
	if family == unix.AF_INET6 {
		kinds = [2]uint16{ctaSource6, ctaDest6}
	}
	tuple := func(source, dest string) func(*netlink.AttributeEncoder) error {
		return func(e *netlink.AttributeEncoder) error {
			e.Nested(ctaTupleIP, func(e *netlink.AttributeEncoder) error {
				e.Bytes(kinds[0], netip.MustParseAddr(source).AsSlice())
				e.Bytes(kinds[1], netip.MustParseAddr(dest).AsSlice())
				return nil
			})
			e.Nested(2, func(e *netlink.AttributeEncoder) error { // CTA_TUPLE_PROTO
				e.Uint8(1, unix.IPPROTO_UDP)
				e.Bytes(2, []byte{0x12, 0x67})
				e.Bytes(3, []byte{0, 53})
				return nil
			})
			return nil
		}
	}
	e := netlink.NewAttributeEncoder()
	e.Nested(ctaTupleOrig, tuple(source, dest))
	e.Nested(2, tuple(dest, source)) // CTA_TUPLE_REPLY
	e.Bytes(ctaStatus, []byte{byte(status >> 24), byte(status >> 16), byte(status >> 8), byte(status)})
	e.Bytes(ctaID, []byte{1, 2, 3, 4})
	e.Bytes(7, []byte{0, 0, 0, 30}) // CTA_TIMEOUT
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{family, 0, 0, 0}, b...)
}

func TestFlowAround(t *testing.T) {
	networks := []netip.Prefix{netip.MustParsePrefix("10.20.1.0/24"), netip.MustParsePrefix("fd10:20:1::/64")}
	local := []netip.Addr{netip.MustParseAddr("10.20.1.1"), netip.MustParseAddr("fd10:20:1::1")}
	const confirmed = 1 << 3
	for _, tt := range []struct {
		what         string
		family       byte
		source, dest string
		status       uint32
		around       bool
	}{
		{"to the Internet", unix.AF_INET, "10.20.1.11", "8.8.8.8", confirmed, true},
		{"by IPv6", unix.AF_INET6, "fd10:20:1::b", "2001:4860:4860::8888", confirmed, true},
		{"redirected", unix.AF_INET, "10.20.1.11", "8.8.8.8", confirmed | statusDNAT, false},
		{"to the box", unix.AF_INET, "10.20.1.11", "10.20.1.1", confirmed, false},
		{"of the box itself", unix.AF_INET6, "fd10:20:1::1", "2001:4860:4860::8888", confirmed, false},
		{"of somebody else", unix.AF_INET, "192.168.1.5", "8.8.8.8", confirmed, false},
		{"to a terminal", unix.AF_INET, "192.168.1.5", "10.20.1.11", confirmed, false},
	} {
		data := message(t, tt.family, tt.source, tt.dest, tt.status)
		f, err := parseFlow(data)
		if err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		if f.source.String() != tt.source || f.dest.String() != tt.dest || f.around(networks, local) != tt.around {
			t.Errorf("%s: %+v, around %v", tt.what, f, f.around(networks, local))
		}
		// What names it is as it came.
		again, err := parseFlow(append([]byte{tt.family, 0, 0, 0}, f.id...))
		if err != nil || again.source != f.source || !bytes.Equal(again.id, f.id) || !bytes.Contains(f.id, []byte{1, 2, 3, 4}) {
			t.Errorf("%s: named by %x, %v", tt.what, f.id, err)
		}
	}
}

func FuzzParseFlow(f *testing.F) {
	f.Add(message(f, unix.AF_INET, "10.20.1.11", "8.8.8.8", statusDNAT))
	f.Add(message(f, unix.AF_INET6, "fd10:20:1::b", "2001:4860:4860::8888", 0))
	f.Add([]byte{2, 0, 0, 0, 5, 0, 1, 0, 7})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, data []byte) {
		flow, err := parseFlow(data)
		if err != nil {
			return
		}
		if flow.around(nil, nil) {
			t.Error("a flow of no network goes around the rules")
		}
		if len(flow.id) > len(data)+64 {
			t.Errorf("named by %d bytes of %d", len(flow.id), len(data))
		}
	})
}
