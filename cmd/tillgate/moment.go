package main

import (
	"fmt"
	"strings"
	"time"

	"tillgate/internal/strictyaml"
)

// endMoment is when something ends: the time of day, after its date where that is
// not today's.
func endMoment(end, now time.Time, timeOfDay string) string {
	end, now = end.Local(), now.Local()
	if end.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return end.Format(timeOfDay)
	}
	return end.Format(time.DateOnly + " " + timeOfDay)
}

// parseMoment reads a point in time as people write it: in the form of RFC
// 3339, a local date with or without a time of day, or how long ago it was.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if d, ok := strictyaml.ParseDuration(strings.TrimSpace(strings.TrimSuffix(text, "ago"))); ok {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time; write how long ago (15m, 2h, 3d), a date (%s) or a time (%s)",
		text, now.Format(time.DateOnly), now.Format(time.RFC3339))
}
