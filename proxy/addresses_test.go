package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"tillgate/internal/storelab"
)

func TestOwnAddresses(t *testing.T) {
	var o ownAddresses
	defer o.close()
	own, err := o.get()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(own, netip.MustParsePrefix("127.0.0.1/8")) {
		t.Errorf("loopback is not among %v", own)
	}
}

// The box knows of an address of its own from the moment that it has it, and lists them
// only then.
func TestOwnAddressesChange(t *testing.T) {
	store := storelab.New(t, storelab.Config{})
	till := store.Terminal(t, "sunmi")
	var o ownAddresses
	defer o.close()
	get := func() (own []netip.Prefix) {
		t.Helper()
		if err := till.Do(func() (err error) { own, err = o.get(); return err }); err != nil {
			t.Fatal(err)
		}
		return own
	}
	ip := func(argv ...string) {
		t.Helper()
		if _, err := till.Run(t.Context(), append([]string{"ip", "addr"}, argv...)...); err != nil {
			t.Fatal(err)
		}
	}
	before := get()
	if after := get(); &after[0] != &before[0] {
		t.Error("they are listed though none has changed")
	}
	for _, addr := range []string{"8.8.4.9/32", "2a00:1450::9/128"} {
		ip("add", addr, "dev", "lo", "nodad")
		if !slices.Contains(get(), netip.MustParsePrefix(addr)) {
			t.Errorf("%s is new, and not known", addr)
		}
		ip("del", addr, "dev", "lo")
		if slices.Contains(get(), netip.MustParsePrefix(addr)) {
			t.Errorf("%s is gone, and known", addr)
		}
	}

	// More changes than the kernel keeps.
	if err := unix.SetsockoptInt(o.changes, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		t.Fatal(err)
	}
	last := ""
	for i := range 20 {
		last = fmt.Sprintf("8.8.5.%d/32", i)
		ip("add", last, "dev", "lo")
	}
	if own := get(); !slices.Contains(own, netip.MustParsePrefix(last)) || len(own) != len(before)+20 {
		t.Errorf("%d of %d are known", len(own)-len(before), 20)
	}

	// Without news they are listed each time.
	unix.Close(o.changes)
	o.changes = -1
	ip("del", last, "dev", "lo")
	if slices.Contains(get(), netip.MustParsePrefix(last)) {
		t.Error("nothing is heard any more, and what was once told is believed")
	}
}

func TestOwnAddressesAllocs(t *testing.T) {
	if raceDetector() {
		t.Skip("the race detector allocates")
	}
	var o ownAddresses
	defer o.close()
	if n := testing.AllocsPerRun(100, func() { o.get() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
