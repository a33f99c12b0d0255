package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"tillgate/decision"
)

func TestMeter(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	m := &meter{w: &out, now: func() time.Time { return now }, began: now}
	shown := func() string { defer out.Reset(); return out.String() }
	at := func(after time.Duration, done int64) string {
		now = time.Unix(0, 0).Add(after)
		m.told(decision.Progress{Done: done, Total: 1_200_000_000})
		return shown()
	}
	for _, tt := range []struct {
		after time.Duration
		done  int64
		want  string
	}{
		{0, 0, ""},
		{400 * time.Millisecond, 1_000_000, ""}, // it may be quick
		{600 * time.Millisecond, 0, "\rtillgate: 1.2 GB of journal to read\x1b[K"},
		{700 * time.Millisecond, 10_000_000, ""}, // a moment ago
		{3 * time.Second, 300_000_000, "\rtillgate: 25 % of 1.2 GB of journal read, about 9s left\x1b[K"},
		{4 * time.Second, 1_199_999_999, "\rtillgate: 99 % of 1.2 GB of journal read, about 1s left\x1b[K"},
	} {
		if got := at(tt.after, tt.done); got != tt.want {
			t.Errorf("after %v: %q, want %q", tt.after, got, tt.want)
		}
	}
	m.hide()
	m.hide() // is gone already
	if got := shown(); got != "\r\x1b[K" {
		t.Errorf("hiding: %q", got)
	}
	m.end()
	if got := shown(); got != "" {
		t.Errorf("a short reading ends with %q", got)
	}
	now = time.Unix(130, 0)
	m.end()
	if got := shown(); got != "tillgate: 1.2 GB of journal read in 2m10s\n" {
		t.Errorf("the end: %q", got)
	}
	// However often it is told, it shows no more than five a second.
	m.began = now
	for range 10_000 {
		now = now.Add(time.Millisecond)
		m.told(decision.Progress{Done: 1, Total: 2})
	}
	if n := strings.Count(shown(), "\r"); n < 40 || n > 50 {
		t.Errorf("shown %d times in 10 s", n)
	}
}

// What is no terminal gets none.
func TestNoMeter(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if newMeter(f, time.Now) != nil || newMeter(&bytes.Buffer{}, time.Now) != nil {
		t.Error("a file has a meter")
	}
	(*meter)(nil).hide()
	(*meter)(nil).end()
}
