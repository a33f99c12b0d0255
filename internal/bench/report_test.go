package bench

import (
	"strings"
	"testing"
)

// A target is reached by the medians; one of parity also by a bound.
func TestReached(t *testing.T) {
	at := func(low, mid, high float64) estimate { return estimate{low, mid, high, true} }
	for _, tt := range []struct {
		peer      peer
		rate, cpu estimate
		want      string
	}{
		{peer{either: 1.3}, at(1, 1.1, 1.2), at(1.2, 1.35, 1.4), "1.30, reached"},
		{peer{either: 1.3}, at(1, 1.1, 1.2), at(1.2, 1.25, 1.4), "1.30, **not reached**"},
		{peer{either: 1}, at(.8, .9, 1.01), at(.7, .8, .9), "1.00, within the bound"},
		{peer{cpu: 1}, at(2, 2, 2), at(.7, .8, .9), "CPU 1.00, **not reached**"},
		{peer{cpu: 1}, at(.5, .5, .5), at(.8, .9, 1.1), "CPU 1.00, within the bound"},
		{peer{rate: 1.3, cpu: 1.25}, at(1.3, 1.4, 1.5), at(1.1, 1.2, 1.3), "rate 1.30, CPU 1.25, **not reached**"},
		{peer{}, at(1, 1, 1), at(1, 1, 1), "– "},
	} {
		target, reached := tt.peer.reached(tt.rate, tt.cpu)
		if got := target + " " + reached; got != tt.want {
			t.Errorf("%+v with rate %v, CPU %v: %s, want %s", tt.peer, tt.rate, tt.cpu, got, tt.want)
		}
	}
}

// A row is compared round by round, not by its medians; a peer that was not there
// has no line.
func TestRow(t *testing.T) {
	r := result{row: row{work: "work", peers: []peer{{server: "a", either: 1.3}, {server: "b", either: 1}}},
		samples: map[string][]sample{
			own: {{rate: 10, cpu: 1}, {rate: 40, cpu: 1}, {rate: 30, cpu: 1}},
			"a": {{rate: 5, cpu: 3}, {rate: 10, cpu: 2}, {rate: 60, cpu: 4}},
		}, noisy: 2}
	var b strings.Builder
	r.write(&b)
	const want = "| work | a | 30 / 10 | 1 / 3 µs | 2 | 3 | 1.30, reached | 2 noisy |\n"
	if b.String() != want {
		t.Errorf("%s, want %s", &b, want)
	}
}
