package firewall

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bytesOf reads hex digits in groups.
func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Heads of packets, from 10.20.1.11 to 8.8.8.8 and from fd10:20:1::b to 2001:4860:4860::8888.
const (
	ends4 = "0a14010b 08080808 "
	ends6 = "fd100020000100000000000000 00000b 20014860486000000000000000008888 "
	tcp4  = "45000034 00004000 40060000 " + ends4 + "c0000355"
	udp6  = "60000000 00081140 " + ends6 + "c00001bb"
)

var packets = []struct {
	what, hex string
	number    uint8
	port      uint16
}{
	{"TCP", tcp4, 6, 853},
	{"TCP with options of IP", "46000034 00004000 40060000 " + ends4 + "94040000 c0000355", 6, 853},
	{"options that are not there", "4f000034 00004000 40060000 " + ends4 + "c0000355", 6, 0},
	{"cut off after IP", "45000034 00004000 40060000 " + ends4, 6, 0},
	{"a first fragment", "45000034 00002000 40110000 " + ends4 + "c0000035", 17, 53},
	{"a later fragment", "45000034 00000010 40110000 " + ends4 + "c0000035", 17, 0},
	{"ping", "45000034 00000000 40010000 " + ends4 + "08000000", 1, 0},
	{"GRE", "45000034 00000000 402f0000 " + ends4 + "00000800", 47, 0},
	{"UDP by IPv6", udp6, 17, 443},
	{"ping by IPv6", "60000000 00083a40 " + ends6 + "80000000", 58, 0},
	{"hop-by-hop, then UDP", "60000000 00100040 " + ends6 + "1100000000000000 c00001bb", 17, 443},
	{"AH, then TCP", "60000000 00103340 " + ends6 + "0600000000000000 c00001bb", 6, 443},
	{"a later fragment by IPv6", "60000000 00102c40 " + ends6 + "1100000800000001 c00001bb", 17, 0},
	{"an extension that is not there", "60000000 00100040 " + ends6 + "11ff000000000000 c00001bb", 17, 0},
	{"endless extensions", "60000000 00100040 " + ends6 + strings.Repeat("0000000000000000", 20), 0, 0},
}

func TestParsePacket(t *testing.T) {
	for _, tt := range packets {
		got, err := parsePacket(bytesOf(t, tt.hex))
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		want := attempt{
			src: netip.MustParseAddr("10.20.1.11"), dst: netip.MustParseAddr("8.8.8.8"),
			number: tt.number, port: tt.port,
		}
		if tt.hex[0] == '6' {
			want.src, want.dst = netip.MustParseAddr("fd10:20:1::b"), netip.MustParseAddr("2001:4860:4860::8888")
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(attempt{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
}

func TestParsePacketRefuses(t *testing.T) {
	for _, tt := range []struct{ what, hex string }{
		{"nothing", ""},
		{"another protocol", "00010800 06040001"},
		{"IPv4 cut off", "45000034 00004000 40060000 0a14010b 080808"},
		{"IPv4 with too short a head", "44000034 00004000 40060000 " + ends4},
		{"IPv6 cut off", "60000000 00081140 fd10"},
	} {
		if p, err := parsePacket(bytesOf(t, tt.hex)); err == nil {
			t.Errorf("%s: %v", tt.what, p)
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	for _, tt := range packets {
		f.Add(bytesOf(f, tt.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePacket(b)
		if err != nil {
			return
		}
		if !p.src.IsValid() || !p.dst.IsValid() || p.src.Is4() != p.dst.Is4() {
			t.Errorf("from %v to %v", p.src, p.dst)
		}
		if p.port != 0 && p.number != protoTCP && p.number != protoUDP {
			t.Errorf("a port of protocol %d", p.number)
		}
	})
}
