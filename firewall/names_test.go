package firewall

import "testing"

func TestLogPrefix(t *testing.T) {
	for _, kind := range []Kind{Refused, Observed, Spoofed} {
		got, class, ok := ParseLogPrefix(LogPrefix(kind, "pos-2"))
		if got != kind || class != "pos-2" || !ok {
			t.Errorf("%v: %v, %q, %v", kind, got, class, ok)
		}
	}
	for _, text := range []string{"", "tillgate", "tillgate refused", "tillgate refused ", "tillgate dropped pos", "other refused pos", "refused pos"} {
		if _, _, ok := ParseLogPrefix(text); ok {
			t.Errorf("%q is a prefix", text)
		}
	}
}
