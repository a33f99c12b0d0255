package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestKeeperHealth(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	later := func(d time.Duration) { now = now.Add(d) }
	for _, tt := range []struct {
		what     string
		expected bool
		do       func(*keeperWatch)
		want     string
	}{
		{"there never was one", false, func(*keeperWatch) { later(time.Hour) }, "ok none is kept here"},
		{"there was one before", true, func(*keeperWatch) { later(time.Minute) }, "bad nobody keeps"},
		{"it comes in time", true, func(k *keeperWatch) { later(time.Second); k.asked("a"); k.told("a", nil) }, "ok the rules of the policy are in the kernel"},
		{"it was there before, and may come", true, func(*keeperWatch) {}, "ok the rules of the policy are on their way"},
		{"it has gone", false, func(k *keeperWatch) { k.asked("a"); k.told("a", nil); later(time.Minute) }, "bad nobody keeps"},
		{"it is about to have the new ones", false, func(k *keeperWatch) { k.asked("a"); k.told("b", nil); later(time.Second) }, "ok the rules of the policy are on their way"},
		{"it does not get the new ones in", false, func(k *keeperWatch) {
			k.asked("a")
			k.told("a", nil)
			for range 5 {
				later(5 * time.Second)
				k.asked("a")
				k.told("b", nil)
			}
		}, "bad the kernel does not have"},
		{"there are none", false, func(k *keeperWatch) { k.asked("a"); k.told("a", errors.New("class x\nhas no interface")) }, "bad no rules can be made, those before stay: class x; has"},
	} {
		k := newKeeperWatch(tt.expected, func() time.Time { return now })
		tt.do(k)
		h, expected := k.health()
		if never := tt.want == "ok none is kept here"; expected == never {
			t.Errorf("%s: expected %v", tt.what, expected)
		}
		if got := h.State.String() + " " + h.Text; !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
}
