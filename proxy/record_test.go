package proxy

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/decision"
	"tillgate/policy"
)

// A ledger keeps records, and counts what is like one that it has.
type ledger struct {
	records []decision.Record
	repeats int
}

func (l *ledger) Repeat(k decision.Key) bool {
	for _, r := range l.records {
		if r.Key() == k {
			l.repeats++
			return true
		}
	}
	return false
}

func (l *ledger) Record(r decision.Record) { l.records = append(l.records, r) }

func TestRecords(t *testing.T) {
	set := siteSet(t, sitePolicy)
	var l ledger
	p := New(Config{}, Deps{
		Policy:  func() *policy.Set { return set },
		Trusted: func() time.Time { return time.Time{} },
		Records: &l,
		Log:     slog.New(slog.DiscardHandler),
	})
	peer := &peer{client: netip.MustParseAddr(fromTill), began: time.Now()}
	attempt := func() *attempt {
		a := peer.attempt(policy.TLS, "api.pay.example", 443)
		if !p.decide(a) {
			t.Fatal("denied")
		}
		a.dest, a.detail = netip.MustParseAddrPort("8.8.0.1:443"), "left out: 10.0.0.1"
		return a
	}
	fails := &dialError{refused, errNoAddress}
	inside := &dialError{privateAddress, errOwn}
	full := &dialError{overLimit, &limitError{"tunnels", 9, false}}
	for range 3 {
		p.allow(attempt())
		p.failed(attempt(), fails)
		p.failed(attempt(), inside)
		p.failed(attempt(), full)
		p.deny(attempt(), policy.SNIMismatch, "another")
	}
	p.deny(peer.attempt(policy.TLS, "", 443), policy.NoHello, "")

	common := decision.Record{
		Plane: policy.TLS, Client: peer.client, Class: "till", Name: "api.pay.example", Port: 443, Proto: policy.TCP,
		Service: "lab/till", Row: 1, Rule: "packs/lab.yaml:7", Dest: netip.MustParseAddrPort("8.8.0.1:443"),
	}
	as := func(verdict policy.Verdict, reason policy.Reason, rcode, detail string) decision.Record {
		r := common
		r.Verdict, r.Reason, r.Rcode, r.Detail = verdict, reason, rcode, detail
		return r
	}
	want := []decision.Record{
		as(policy.Allow, policy.Documented, "", "left out: 10.0.0.1"),
		as(policy.Allow, policy.Documented, "connection_refused", errNoAddress.Error()),
		as(policy.Deny, policy.PrivateAddress, "", errOwn.Error()),
		as(policy.Deny, policy.LimitReached, "", "9 tunnels in all already"),
		as(policy.Deny, policy.SNIMismatch, "", "another"),
		{Plane: policy.TLS, Reason: policy.NoHello, Client: peer.client, Class: "till", Port: 443, Proto: policy.TCP},
	}
	for i := range l.records {
		if l.records[i].Ms <= 0 {
			t.Errorf("record %d took no time", i)
		}
		l.records[i].Ms = 0
	}
	if diff := cmp.Diff(want, l.records, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if l.repeats != 10 {
		t.Errorf("%d repeats were counted, want 10", l.repeats)
	}
	if got, want := p.Stats(), (Stats{Allowed: 3, Denied: 10, Failed: 3}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}
