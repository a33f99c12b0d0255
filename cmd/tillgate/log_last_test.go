package main

import (
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"tillgate/console"
	"tillgate/decision"
)

// The last lines come in order, and no more of the journal is read than it takes.
func TestLatest(t *testing.T) {
	now := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	ages := []time.Duration{400 * day, 10 * day, 2 * time.Hour, 50 * time.Minute, time.Minute} // of all that is there
	broken := errors.New("broken")
	for _, tt := range []struct {
		what string
		n    int
		q    decision.Query
		want string // the ages, and where it was read from
	}{
		{"the last hour has them", 2, decision.Query{}, "50m0s 1m0s; 1h0m0s"},
		{"one", 1, decision.Query{}, "1m0s; 1h0m0s"},
		{"the day has them", 3, decision.Query{}, "2h0m0s 50m0s 1m0s; 1h0m0s 24h0m0s"},
		{"there are no more", 9, decision.Query{}, "9600h0m0s 240h0m0s 2h0m0s 50m0s 1m0s; 1h0m0s 24h0m0s 720h0m0s all"},
		{"since", 2, decision.Query{Since: now.Add(-3 * time.Hour)}, "50m0s 1m0s; 3h0m0s"},
		{"until", 1, decision.Query{Until: now.Add(-day)}, "240h0m0s; 25h0m0s 48h0m0s 744h0m0s"},
	} {
		read := ""
		source := func(q console.LogQuery) iter.Seq2[console.LogLine, error] {
			if q.Since.IsZero() {
				read += " all"
			} else {
				read += " " + now.Sub(q.Since).String()
			}
			buf := []byte("x") // as the box's answer: overwritten by the next line
			return func(yield func(console.LogLine, error) bool) {
				for i, age := range ages {
					buf[0] = byte('0' + i)
					r := decision.Record{Time: now.Add(-age)}
					if q.Match(&r) && !yield(console.LogLine{JSON: buf, Record: r}, nil) {
						return
					}
				}
			}
		}
		got := ""
		for line, err := range latest(tt.n, console.LogQuery{Query: tt.q}, now, source) {
			if err != nil {
				t.Fatal(err)
			}
			age := ages[line.JSON[0]-'0']
			if !line.Record.Time.Equal(now.Add(-age)) {
				t.Errorf("%s: the JSON of another record", tt.what)
			}
			got += fmt.Sprint(age) + " "
		}
		if got = got[:len(got)-1] + ";" + read; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
	for _, err := range latest(3, console.LogQuery{}, now, func(console.LogQuery) iter.Seq2[console.LogLine, error] {
		return func(yield func(console.LogLine, error) bool) { yield(console.LogLine{}, broken) }
	}) {
		if !errors.Is(err, broken) {
			t.Errorf("an error is lost: %v", err)
		}
	}
}
