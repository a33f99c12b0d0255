package firewall

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// encode is a list of attributes as the kernel writes them.
func encode(t testing.TB, f func(*netlink.AttributeEncoder)) []byte {
	t.Helper()
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	f(e)
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dumped is a part of a dump: elements with these keys, and a counter of as many packets as
// the key is long.
func dumped(t testing.TB, keys ...[]byte) []byte {
	counter := func(key []byte) []byte {
		return encode(t, func(e *netlink.AttributeEncoder) {
			e.String(unix.NFTA_EXPR_NAME, "counter")
			e.Bytes(unix.NFTA_EXPR_DATA, encode(t, func(e *netlink.AttributeEncoder) {
				e.Uint64(unix.NFTA_COUNTER_BYTES, 1<<40)
				e.Uint64(unix.NFTA_COUNTER_PACKETS, uint64(len(key)))
			}))
		})
	}
	return encode(t, func(e *netlink.AttributeEncoder) {
		e.String(unix.NFTA_SET_ELEM_LIST_TABLE, Table)
		e.Bytes(unix.NFTA_SET_ELEM_LIST_ELEMENTS, encode(t, func(e *netlink.AttributeEncoder) {
			for _, key := range keys {
				e.Bytes(unix.NFTA_LIST_ELEM, encode(t, func(e *netlink.AttributeEncoder) {
					e.Bytes(unix.NFTA_SET_ELEM_KEY, encode(t, func(e *netlink.AttributeEncoder) {
						e.Bytes(unix.NFTA_DATA_VALUE, key)
					}))
					e.Uint64(unix.NFTA_SET_ELEM_TIMEOUT, 60_000)
					e.Bytes(unix.NFTA_SET_ELEM_EXPR, counter(key))
				}))
			}
		}))
	})
}

func TestElements(t *testing.T) {
	keys := [][]byte{
		bytesOf(t, "0a14010b 08080808 06000000 03550000"),
		bytesOf(t, ends6+"3a000000"),
		bytesOf(t, "0a14010b 0808"), // of no set of ours
	}
	var got []string
	for e := range elements(dumped(t, keys...)) {
		if a, ok := attemptOf(e.key); ok && e.packets == uint64(len(e.key)) {
			got = append(got, line(posRefused.record(a)))
		}
	}
	want := []string{"pos 10.20.1.11, firewall, 8.8.8.8:853: 1", "pos fd10:20:1::b, firewall, [2001:4860:4860::8888]:0: 1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for range elements(dumped(t, keys...)) {
		break // and no more is asked for
	}
}

func FuzzElements(f *testing.F) {
	f.Add(dumped(f, []byte{10, 20, 1, 11}))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		for e := range elements(b) {
			if n++; len(e.key) == 0 || n > len(b) {
				t.Fatalf("element %d: %v", n, e)
			}
		}
	})
}

func TestParseCounterName(t *testing.T) {
	for _, kind := range []Kind{Refused, Observed, Spoofed} {
		if got, class, ok := parseCounterName(CounterName(kind, "pos-2")); got != kind || class != "pos-2" || !ok {
			t.Errorf("%v: %v, %q, %v", kind, got, class, ok)
		}
	}
	for _, name := range []string{"", "refused", "refused-", "other-pos"} {
		if _, _, ok := parseCounterName(name); ok {
			t.Errorf("%q is one", name)
		}
	}
}
