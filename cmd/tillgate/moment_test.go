package main

import (
	"testing"
	"time"
)

func TestParseMoment(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	now := time.Date(2026, 11, 22, 7, 0, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"15m":                       now.Add(-15 * time.Minute),
		"2h":                        now.Add(-2 * time.Hour),
		"3d":                        now.Add(-72 * time.Hour),
		"3d ago":                    now.Add(-72 * time.Hour),
		"1d12h":                     now.Add(-36 * time.Hour),
		"0s":                        now,
		"2026-11-21":                time.Date(2026, 11, 21, 0, 0, 0, 0, zone),
		"2026-11-21 06:30":          time.Date(2026, 11, 21, 6, 30, 0, 0, zone),
		"2026-11-21 06:30:15":       time.Date(2026, 11, 21, 6, 30, 15, 0, zone),
		"2026-11-21T06:30:15Z":      time.Date(2026, 11, 21, 6, 30, 15, 0, time.UTC),
		"2026-11-21T06:30:15.5Z":    time.Date(2026, 11, 21, 6, 30, 15, 5e8, time.UTC),
		"2026-11-21T06:30:15+09:00": time.Date(2026, 11, 20, 21, 30, 15, 0, time.UTC),
	} {
		if got, err := parseMoment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "ago", "-1h", "yesterday", "2026-13-01", "22.11.2026", "1700000000"} {
		if got, err := parseMoment(text, now); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestEndMoment(t *testing.T) {
	now := time.Date(2026, 11, 22, 19, 16, 47, 0, time.Local)
	for _, tt := range []struct {
		in   time.Duration
		want string
	}{
		{2 * time.Hour, "21:16"},
		{5 * time.Hour, "2026-11-23 00:16"},
		{24 * time.Hour, "2026-11-23 19:16"},
	} {
		if got := endMoment(now.Add(tt.in).UTC(), now, "15:04"); got != tt.want {
			t.Errorf("in %v: %q, want %q", tt.in, got, tt.want)
		}
	}
}
