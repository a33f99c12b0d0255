package strictyaml

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0":          0,
		"0s":         0,
		"1800ms":     1800 * time.Millisecond,
		"1h30m":      90 * time.Minute,
		"400d":       400 * 24 * time.Hour,
		"1d1h":       25 * time.Hour,
		"0.5h":       30 * time.Minute,
		"":           -1,
		"d":          -1,
		"-1s":        -1,
		"1d-1s":      -1,
		"-1d":        -1,
		"+1s":        -1,
		"1.5d":       -1,
		"1d1d":       -1,
		"1s1d":       -1,
		"65536d":     -1,
		"65535d":     65535 * 24 * time.Hour,
		"10":         -1,
		"1w":         -1,
		"9999999h":   -1,
		"65535d999h": 65535*24*time.Hour + 999*time.Hour,
	} {
		got, ok := ParseDuration(text)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, ok, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0:                               "0s",
		1800 * time.Millisecond:         "1.8s",
		10 * time.Second:                "10s",
		5 * time.Minute:                 "5m",
		6 * time.Hour:                   "6h",
		90 * time.Minute:                "1h30m",
		24 * time.Hour:                  "1d",
		25 * time.Hour:                  "25h",
		400 * 24 * time.Hour:            "400d",
		10*time.Minute + 30*time.Second: "10m30s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
		if back, ok := ParseDuration(want); !ok || back != d {
			t.Errorf("%q is not %v: %v", want, d, back)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0":                    0,
		"1024":                 1024,
		"1KiB":                 1024,
		"512MiB":               512 << 20,
		"2GiB":                 2 << 30,
		"1TiB":                 1 << 40,
		"":                     -1,
		"GiB":                  -1,
		"2GB":                  -1,
		"2gib":                 -1,
		"2 GiB":                -1,
		"-1KiB":                -1,
		"1.5GiB":               -1,
		"9999999TiB":           -1,
		"8388608TiB":           -1,
		"8388607TiB":           8388607 << 40,
		"1KiBKiB":              -1,
		"99999999999999999999": -1,
	} {
		got, ok := parseSize(text)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, ok, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 1000: "1000", 1024: "1KiB", 3 << 20: "3MiB", 2 << 30: "2GiB", 5 << 50: "5120TiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
