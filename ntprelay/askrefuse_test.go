package ntprelay

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// What a server may send that is no time.
func TestAskRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(h *header)
		want string // in the error
		code string // of a kiss
		poll time.Duration
	}{
		{"version 5", func(h *header) { h.version = 5 }, "NTP version 5", "", 0},
		{"version 7", func(h *header) { h.version, h.leap = 7, 3 }, "NTP version 7", "", 0},
		{"version 2", func(h *header) { h.version = 2 }, "NTP version 2", "", 0},
		{"a client's", func(h *header) { h.mode = client }, "not a server's", "", 0},
		{"broadcast", func(h *header) { h.mode = 5 }, "not a server's", "", 0},
		{"to another request", func(h *header) { h.origin++ }, "another request", "", 0},
		{"leap 3", func(h *header) { h.leap = 3 }, "not synchronised", "", 0},
		{"stratum 16", func(h *header) { h.stratum = 16 }, "not synchronised", "", 0},
		{"stratum 0", func(h *header) { h.stratum, h.refID = 0, 0 }, "not synchronised", "", 0},
		{"stratum 0 while it starts", func(h *header) { h.stratum, h.refID = 0, 0x494e4954 }, "not synchronised", "", 0},
		{"no reference time", func(h *header) { h.reference = 0 }, "never set its clock", "", 0},
		{"a stale one", func(h *header) { h.reference -= 37 * 3600 << 32 }, "not fresh", "", 0},
		{"one to come", func(h *header) { h.reference += 3600 << 32 }, "invalid time", "", 0},
		{"dispersion", func(h *header) { h.rootDispersion = 17 << 16 }, "dispersion", "", 0},
		{"no transmit time", func(h *header) { h.transmit = 0 }, "transmit time", "", 0},
		{"sent before it came", func(h *header) { h.receive += 1 << 32 }, "backwards", "", 0},
		{"held for too long", func(h *header) { h.receive -= 60 << 32 }, "held the request", "", 0},
		{"no receive time", func(h *header) { h.receive = 0 }, "held the request", "", 0},
		{"a clock of two seconds", func(h *header) { h.precision = 1 }, "more than seconds", "", 0},
		{"a clock of 2^-128 s", func(h *header) { h.precision = -128 }, "no time has", "", 0},
		{"polled each 2^-128 s", func(h *header) { h.poll = -128 }, "no time has", "", 0},
		{"of this box", func(h *header) { h.refID = 0x7f000001 }, "from this box", "", 0},
		{"RATE", func(h *header) { h.stratum, h.refID, h.poll = 0, 0x52415445, 10 }, "said RATE", "RATE", 1024 * time.Second},
		{"RATE with no transmit time", func(h *header) { h.stratum, h.refID, h.transmit = 0, 0x52415445, 0 }, "said RATE", "RATE", time.Second},
		{"RATE for ever", func(h *header) { h.stratum, h.refID, h.poll = 0, 0x52415445, 127 }, "said RATE", "RATE", 131072 * time.Second},
		{"RATE for less", func(h *header) { h.stratum, h.refID, h.poll = 0, 0x52415445, -128 }, "said RATE", "RATE", time.Second},
		{"DENY with leap 3", func(h *header) { h.stratum, h.refID, h.leap, h.transmit = 0, 0x44454e59, 3, 0 }, "said DENY", "DENY", 0},
		{"RSTR", func(h *header) { h.stratum, h.refID = 0, 0x52535452 }, "said RSTR", "RSTR", 0},
		{"DENY to another request", func(h *header) { h.stratum, h.refID, h.origin = 0, 0x44454e59, 0 }, "another request", "", 0},
	} {
		to := remote(t, "udp4", func(request []byte) [][]byte {
			h := good(request, 0)
			tt.edit(&h)
			return [][]byte{h.bytes()}
		})
		s, err := machine().ask(t.Context(), to)
		if err == nil {
			t.Errorf("%s: was taken: %+v", tt.name, s)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %q, want one with %q", tt.name, err, tt.want)
		}
		kiss, ok := errors.AsType[*kissError](err)
		switch {
		case ok != (tt.code != ""):
			t.Errorf("%s: kiss %v", tt.name, kiss)
		case ok && (kiss.code != tt.code || kiss.poll != tt.poll || kiss.final() != (tt.code != "RATE")):
			t.Errorf("%s: kiss %+v", tt.name, kiss)
		}
	}
}

// Precisions that no shift can take, and that are fine.
func TestAskPrecision(t *testing.T) {
	for _, tt := range []struct {
		exponent int8
		want     time.Duration
	}{{0, time.Second}, {-1, time.Second / 2}, {-127, 0}} {
		to := remote(t, "udp4", func(request []byte) [][]byte {
			h := good(request, 0)
			h.precision = tt.exponent
			return [][]byte{h.bytes()}
		})
		if s, err := machine().ask(t.Context(), to); err != nil || s.Precision != tt.want {
			t.Errorf("precision 2^%d s: %v, %v", tt.exponent, s.Precision, err)
		}
	}
}

func TestAskBadDatagrams(t *testing.T) {
	for name, datagram := range map[string][]byte{
		"empty": {}, "one byte": {0x24}, "47 bytes": bytes.Repeat([]byte{0x24}, 47), "noise": bytes.Repeat([]byte{0xff}, 500),
	} {
		to := remote(t, "udp4", func([]byte) [][]byte { return [][]byte{datagram} })
		if s, err := machine().ask(t.Context(), to); err == nil {
			t.Errorf("%s: was taken: %+v", name, s)
		}
	}
}

// Whatever comes back, asking neither panics nor takes what makes no sense.
func FuzzAsk(f *testing.F) {
	answer := make(chan []byte, 1)
	to := remote(f, "udp4", func(request []byte) [][]byte {
		datagram := <-answer
		if len(datagram) >= headerSize { // else a server would have to guess it
			copy(datagram[24:], request[transmitAt:headerSize])
		}
		return [][]byte{datagram}
	})
	now := good(make([]byte, headerSize), 0)
	f.Add(now.bytes())
	for _, edit := range []func(h *header){
		func(h *header) { h.precision, h.poll = -128, -128 },
		func(h *header) { h.precision, h.poll = -127, 127 },
		func(h *header) { h.stratum, h.refID, h.poll = 0, 0x52415445, -128 },
		func(h *header) { h.rootDelay, h.rootDispersion = 1<<32-1, 1<<32-1 },
		func(h *header) { h.receive, h.transmit = 1, 1<<64-1 },
	} {
		h := now
		edit(&h)
		f.Add(h.bytes())
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		if len(datagram) > 1400 {
			return
		}
		a := machine()
		begin := a.raw()
		answer <- bytes.Clone(datagram)
		s, err := a.ask(t.Context(), to)
		if err != nil {
			return
		}
		took := a.raw() - begin
		if s.Delay < 0 || s.Delay > took || s.Raw < begin || s.Raw > begin+took || s.Stratum < 1 || s.Stratum > 15 ||
			s.RootDelay < 0 || s.RootDispersion < 0 || s.Precision < 0 || s.Precision > time.Second ||
			s.Leap > 2 || s.Time.Year() < 1970 || s.Time.Year() > 2107 {
			t.Errorf("took %+v of % x", s, datagram)
		}
	})
}
