package bench

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"

	"tillgate/policy"
)

// The made policy has as many rules as it says, and its names are what they are
// for; it fits into the files that a policy may have, also a million.
func TestRuleFiles(t *testing.T) {
	for _, n := range []int{40, 1000, packRules + 40} {
		var files []policy.File
		for name, text := range ruleFiles(n) {
			files = append(files, policy.File{Name: name, Data: []byte(text)})
		}
		set, err := policy.Compile(files)
		if err != nil {
			t.Fatalf("%d rules: %v", n, err)
		}
		rules := 0
		for _, s := range set.Services() {
			rules += len(s.Destinations)
		}
		if rules != n {
			t.Errorf("%d rules, want %d", rules, n)
		}
		documented, denied := ruleNames(n)
		for i, list := range [][]string{documented, denied} {
			want := []policy.Reason{policy.Documented, policy.NotDocumented}[i]
			if len(list) != scaleNames {
				t.Errorf("%d rules: %d names, want %d", n, len(list), scaleNames)
			}
			for _, name := range list {
				d := set.Decide(policy.Request{Plane: policy.DNS, Client: netip.MustParseAddr("127.0.0.1"), Name: name})
				if d.Reason != want {
					t.Fatalf("%d rules: %s is %v, want %v", n, name, d.Reason, want)
				}
			}
		}
	}
	const most = 1 << 20 // strictyaml.MaxSize
	for name, text := range ruleFiles(1_000_000) {
		if len(text) > most {
			t.Errorf("a million rules: %s has %d bytes", name, len(text))
		}
	}
}

func TestSlopeOf(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{5, 5, 5}, 0},
		{[]float64{1, 3, 5, 7}, 2},
		{[]float64{4, 2}, -2},
		{[]float64{0, 3, 0, 3}, 0.6}, // by hand: sum of (x-1.5)(y-1.5) is 3, of (x-1.5)^2 5
	} {
		if got := slopeOf(tt.values); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%v: %v, want %v", tt.values, got, tt.want)
		}
	}
}

// Memory that grows in the second half is told, also slowly; what it grew by
// before that, while tables filled, is not.
func TestHourTable(t *testing.T) {
	s := newShop(nil, nil)
	s.note("denial", nil)
	s.note("tunnel", errors.New("cut"))
	for _, tt := range []struct {
		memory func(minute int) float64
		want   string
	}{
		{func(n int) float64 { return 20 + float64(min(n, 20)) }, "memory is flat (+0.0 % an hour"},
		{func(n int) float64 { return 20 + 0.05*float64(n) }, "**memory is not flat** (+13.5 % an hour"},
	} {
		var minutes []minute
		for n := range 60 {
			minutes = append(minutes, minute{memory: tt.memory(n)})
		}
		table := hourTable(minutes, s, 1)
		for _, want := range []string{tt.want, "Done: 1 denial.", "s: 1; in all: 1, the first: `tunnel: cut`."} {
			if notes := strings.ReplaceAll(table.notes, "\n", " "); !strings.Contains(notes, want) {
				t.Errorf("no %q in %s", want, notes)
			}
		}
	}
}

// What a terminal says first is a ClientHello for that name.
func TestClientHello(t *testing.T) {
	hello := string(clientHello("a.example"))
	if !strings.HasPrefix(hello, "\x16\x03\x01") || !strings.Contains(hello, "a.example") {
		t.Errorf("%q", hello)
	}
}

// Each row, and each figure of tillgate's that is no ratio, has its limit on the page.
func TestLimits(t *testing.T) {
	want := map[string]bool{idleMemory: true, idleDescriptors: true, "start to first answer": true, "idle RSS": true, "stripped binary": true}
	for _, r := range rows {
		want[r.name] = true
	}
	for _, l := range limits {
		if !want[l.of] || l.limit == "" || l.between == "" {
			t.Errorf("%+v", l)
		}
		delete(want, l.of)
	}
	if len(want) > 0 {
		t.Errorf("no limit of %s", list(want))
	}
}
