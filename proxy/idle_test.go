package proxy

import (
	"testing"
	"time"
)

func TestQuiet(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name      string
		half      time.Duration
		now, last time.Duration
		want      time.Duration
	}{
		{"at the start", 0, 0, 0, 3600 * s},
		{"later", 0, 10 * s, 0, 3590 * s},
		{"after a byte", 0, 10 * s, 9 * s, 3599 * s},
		{"when it is time", 0, 3609 * s, 9 * s, 0},
		{"long after", 0, 4000 * s, 9 * s, -391 * s},
		{"half-closed now", 100 * s, 100 * s, 5 * s, 60 * s},
		{"half-closed", 100 * s, 130 * s, 5 * s, 30 * s},
		{"half-closed, after a byte", 100 * s, 130 * s, 129 * s, 59 * s},
		{"half-closed, time is up", 100 * s, 189 * s, 129 * s, 0},
		{"half-closed and never quiet", 100 * s, 3690 * s, 3689 * s, 10 * s},
		{"half-closed and never quiet, time is up", 100 * s, 3700 * s, 3699 * s, 0},
	} {
		q := quiet{idle: time.Hour, drain: time.Minute, half: tt.half}
		if got := q.left(tt.now, tt.last, false, nil); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Who takes bytes slowly is not idle; who takes none is, after twice the time.
func TestQuietBlocked(t *testing.T) {
	const s = time.Second
	q := quiet{idle: 100 * s, drain: 60 * s}
	for _, tt := range []struct {
		now, last time.Duration
		acked     uint64
		want      time.Duration
		asked     bool
	}{
		{50 * s, 10 * s, 1000, 60 * s, false},
		{110 * s, 10 * s, 1000, 100 * s, true}, // the first time that there is anything to compare with
		{210 * s, 10 * s, 1001, 100 * s, true}, // one byte is enough
		{250 * s, 10 * s, 1001, 60 * s, false},
		{260 * s, 255 * s, 1001, 95 * s, false}, // a byte was passed on
		{355 * s, 255 * s, 1001, 0, true},
	} {
		asked := false
		got := q.left(tt.now, tt.last, true, func() uint64 { asked = true; return tt.acked })
		if got != tt.want || asked != tt.asked {
			t.Errorf("at %v: %v, asked %v, want %v, %v", tt.now, got, asked, tt.want, tt.asked)
		}
	}
}
