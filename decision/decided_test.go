package decision

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tillgate/policy"
)

// Repeats count as what they repeat, and one record may stand for many.
func TestDecided(t *testing.T) {
	j := mustOpen(t, Config{Dir: t.TempDir()}, quickDisk(), defaults())
	denied := Record{Plane: policy.DNS, Verdict: policy.Deny, Reason: policy.NotDocumented, Name: "evil.example"}
	for range 3 {
		if !j.Repeat(denied.Key()) {
			j.Record(denied)
		}
	}
	j.Record(Record{Plane: policy.Firewall, Verdict: policy.WouldDeny, Reason: policy.FirewallReject, Count: 7})
	j.Record(Record{Plane: policy.System, Event: EventLogin})
	j.Record(Record{Plane: policy.HTTP, Verdict: policy.Allow, Event: EventClose})
	want := []Decided{
		{policy.DNS, policy.Deny, policy.NotDocumented, 3},
		{policy.Firewall, policy.WouldDeny, policy.FirewallReject, 7},
	}
	if diff := cmp.Diff(want, j.Decided()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A plane, verdict or reason that is new must have room to be counted.
func TestDecidedHasRoom(t *testing.T) {
	for name, beyond := range map[string]func() string{
		"plane":   func() string { return policy.Plane(planes).String() },
		"verdict": func() string { return policy.Verdict(verdicts).String() },
		"reason":  func() string { return policy.Reason(reasons).String() },
	} {
		func() {
			defer func() { recover() }()
			t.Errorf("%s %s is not counted", name, beyond())
		}()
	}
}
