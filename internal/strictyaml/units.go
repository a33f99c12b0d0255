package strictyaml

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Time reads a moment in the form of RFC 3339.
func Time(v *time.Time) Reader {
	return func(n Node) {
		text, ok := n.Text()
		if !ok {
			return
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			n.Problem(text, "must be a time", "written 2027-01-31T00:00:00Z")
			return
		}
		*v = t
	}
}

// Duration reads a duration from min to max: a number and a unit, or several
// of them (1800ms, 10s, 1h30m, 400d). A day is 24 hours; nothing is 0 or 0s.
func Duration(v *time.Duration, min, max time.Duration) Reader {
	return func(n Node) {
		text, ok := n.Text()
		if !ok {
			return
		}
		d, ok := ParseDuration(text)
		switch {
		case !ok:
			n.Problem(text, "must be a duration", "written 1800ms, 10s, 5m, 6h or 400d")
		case d < min || d > max:
			n.Problem(text, "must be from "+FormatDuration(min)+" to "+FormatDuration(max), "")
		default:
			*v = d
		}
	}
}

// ParseDuration is [time.ParseDuration] with days, without signs.
func ParseDuration(s string) (time.Duration, bool) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "", s
	}
	var d time.Duration
	if found {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, false
		}
		d = time.Duration(n) * 24 * time.Hour // at most 180 years, which fits
		if rest == "" {
			return d, true
		}
	}
	if strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "-") {
		return 0, false
	}
	part, err := time.ParseDuration(rest)
	if err != nil || part > math.MaxInt64-d {
		return 0, false
	}
	return d + part, true
}

// FormatDuration is the inverse of [ParseDuration], in the largest units.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size reads a number of bytes from min to max: a whole number with KiB, MiB,
// GiB or TiB, or alone.
func Size(v *int64, min, max int64) Reader {
	return func(n Node) {
		text, ok := n.Text()
		if !ok {
			return
		}
		size, ok := parseSize(text)
		switch {
		case !ok:
			n.Problem(text, "must be a size", "written 512MiB or 2GiB")
		case size < min || size > max:
			n.Problem(text, "must be from "+formatSize(min)+" to "+formatSize(max), "")
		default:
			*v = size
		}
	}
}

// units are those of [Size]; each is 1024 of the one before.
var units = [...]string{"", "KiB", "MiB", "GiB", "TiB"}

func parseSize(s string) (int64, bool) {
	digits := strings.TrimRight(s, "KMGTiB")
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, false
	}
	for i, unit := range units {
		if s[len(digits):] == unit {
			shift := 10 * i
			size := int64(n) << shift
			return size, size>>shift == int64(n)
		}
	}
	return 0, false
}

func formatSize(n int64) string {
	i := 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + units[i]
}
