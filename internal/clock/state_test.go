package clock

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var byAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestState(t *testing.T) {
	b := newBoot(t, Config{})
	b.drift = 30 / million
	b.add(good, good, good, time.Hour)
	b.proved()
	for range 30 {
		b.poll()
		b.pass(1024 * time.Second)
	}
	left := b.clock.State()
	if passed := b.truth.Sub(left.Trusted); passed < 0 || passed > 5*time.Second {
		t.Errorf("trusted %v, %v back", left.Trusted, passed)
	}
	if left.Drift < 29 || left.Drift > 31 {
		t.Errorf("drift %v", left.Drift)
	}
	want := []SavedServer{
		{"t1.example", netip.MustParseAddr("192.0.2.1")},
		{"t2.example", netip.MustParseAddr("192.0.2.2")},
		{"t3.example", netip.MustParseAddr("192.0.2.3")},
	}
	if diff := cmp.Diff(want, left.Servers, byAddr); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	read, err := ReadState(left.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(left, read, byAddr); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// The next run begins there, and leaves no less if it learns nothing.
	next := newSim(t, 2, startAt, Config{Saved: read})
	if got := next.clock.Floor(); !got.Equal(left.Trusted) {
		t.Errorf("floor %v, want %v", got, left.Trusted)
	}
	next.level(None)
	if diff := cmp.Diff(left, next.clock.State(), byAddr, cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadState(t *testing.T) {
	addr := `{"name":"a","addr":"192.0.2.1"}`
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "EOF"},
		{"cut off", `{"version":1,"trusted":"2027-0`, "unexpected EOF"},
		{"zeros", "\x00\x00\x00\x00", "invalid character"},
		{"no object", `[]`, "cannot unmarshal"},
		{"another version", `{"version":2}`, "version 2"},
		{"no version", `{}`, "version 0"},
		{"an unknown key", `{"version":1,"leap":1}`, "unknown field"},
		{"two", `{"version":1}{"version":1}`, "more follows"},
		{"no time", `{"version":1,"trusted":"yesterday"}`, "yesterday"},
		{"the year 9999", `{"version":1,"trusted":"9999-01-01T00:00:00Z"}`, "the year 9999"},
		{"an era away", `{"version":1,"trusted":"2100-10-01T00:00:00Z"}`, "the year 2100"},
		{"the year 1900", `{"version":1,"trusted":"1900-01-01T00:00:00Z"}`, "the year 1900"},
		{"a drift of no oscillator", `{"version":1,"drift_ppm":-501}`, "-501 ppm"},
		{"a server without an address", `{"version":1,"servers":[{"name":"a"}]}`, `server "a"`},
		{"a server with a zone", `{"version":1,"servers":[{"name":"a","addr":"fe80::1%eth0"}]}`, `server "a"`},
		{"a long name", `{"version":1,"servers":[{"name":"` + strings.Repeat("a", 254) + `","addr":"192.0.2.1"}]}`, `server "aaa`},
		{"too many servers", `{"version":1,"servers":[` + strings.Repeat(addr+",", maxSaved) + addr + `]}`, "33 servers"},
		{"too long", `{"version":1}` + strings.Repeat(" ", maxState), "65549 bytes"},
		{"nothing known", `{"version":1}`, ""},
		{"all", `{"version":1,"trusted":"2027-03-01T12:00:00.5Z","drift_ppm":-12.5,"servers":[` + addr + `]}` + "\n", ""},
	} {
		s, err := ReadState([]byte(tt.text))
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !cmp.Equal(s, State{}, byAddr) {
			t.Errorf("%s: %+v, %v, want an error with %q", tt.name, s, err, tt.want)
		}
	}
}

// What is read can be written, and is the same when read again; no clock chokes on it.
func FuzzReadState(f *testing.F) {
	f.Add([]byte(`{"version":1,"trusted":"2027-03-01T12:00:00.5Z","drift_ppm":-12.5,"servers":[{"name":"a","addr":"2001:db8::1"}]}`))
	f.Add([]byte(`{"version":1,"trusted":"2249-12-31T23:59:59+23:59","drift_ppm":1e2}`))
	f.Add([]byte(`{"version":1,"servers":[{"name":"\ud800","addr":"::ffff:192.0.2.1"}]}`))
	f.Add([]byte(`{"version":1,"trusted":"2100-10-01T00:00:00Z"}`))
	f.Add([]byte(fmt.Sprintf(`{"version":1,"trusted":%q}`, release.Add(era/2).Format(time.RFC3339))))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ReadState(data)
		if err != nil {
			return
		}
		again, err := ReadState(s.Append(nil))
		if err != nil || !again.Trusted.Equal(s.Trusted) || again.Drift != s.Drift || len(again.Servers) != len(s.Servers) {
			t.Fatalf("%+v, then %+v, %v", s, again, err)
		}
		sim := newSim(t, 1, startAt, Config{Saved: s})
		if sim.clock.Floor().Before(s.Trusted) {
			t.Fatalf("floor %v is before %v", sim.clock.Floor(), s.Trusted)
		}
		sim.add(good, good, good)
		sim.poll()
	})
}
