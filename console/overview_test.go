package console

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/decision"
	"tillgate/policy"
	"tillgate/report"
)

// past is a journal of what a test says.
type past struct {
	records []decision.Record
	digests []decision.Digest
	err     error // that both readings end with
	reads   int
}

func (p *past) Read(q decision.Query) iter.Seq2[decision.Record, error] {
	p.reads++
	return func(yield func(decision.Record, error) bool) {
		if !q.Progress(decision.Progress{Done: 3, Total: 10}) {
			return
		}
		for _, r := range p.records {
			if q.Match(&r) && !yield(r, nil) {
				return
			}
		}
		if p.err != nil {
			yield(decision.Record{}, p.err)
		}
	}
}

func (p *past) Digests(since, until time.Time) iter.Seq2[decision.Digest, error] {
	return func(yield func(decision.Digest, error) bool) {
		for _, d := range p.digests {
			if !yield(d, nil) {
				return
			}
		}
		if p.err != nil {
			yield(decision.Digest{}, p.err)
		}
	}
}

func (p *past) ReadOn(_ string, seq uint64) uint64 { return seq }

func (p *past) Verify(int) (decision.Report, error) { return decision.Report{Segments: 2}, p.err }

func (p *past) Subscribe(decision.Query, int) (*decision.Subscription, error) {
	return nil, decision.ErrClosed
}

var noon = time.Date(2026, 11, 22, 12, 30, 0, 0, time.UTC)

func TestLook(t *testing.T) {
	till := netip.MustParseAddr("10.20.0.7")
	deny := func(ago time.Duration, name string, port uint16) decision.Record {
		return decision.Record{Time: noon.Add(-ago), Plane: policy.Connect, Reason: policy.NotDocumented, Client: till, Class: "pos",
			Name: name, Port: port, Proto: policy.TCP}
	}
	long := deny(2*time.Hour, "long.example", 443)
	long.Count, long.Until = 5, noon.Add(-30*time.Minute)
	tls := deny(time.Minute, "ads.example", 443)
	tls.Plane, tls.Verdict, tls.Reason = policy.TLS, policy.WouldDeny, policy.OtherClass
	allow := deny(time.Minute, "pay.example", 443)
	allow.Verdict = policy.Allow
	dot := deny(3*time.Minute, "", 853)
	dot.Plane, dot.Reason, dot.Dest, dot.Count = policy.Firewall, policy.FirewallReject, netip.MustParseAddrPort("8.8.8.8:853"), 2
	dot.SetDestNames([]string{"dns.google"})
	ended := tls // what was let through to
	ended.Event, ended.Time = decision.EventClose, noon
	j := &past{records: []decision.Record{
		deny(61*time.Minute, "old.example", 443), long, deny(5*time.Minute, "ads.example", 443), tls, allow, dot, ended,
	}}
	hour := func(ago int, plane policy.Plane, v policy.Verdict, n uint64) decision.Hour {
		return decision.Hour{Start: noon.Truncate(time.Hour).Add(-time.Duration(ago) * time.Hour), Plane: plane, Verdict: v, Count: n, Up: 10 * n, Down: 100 * n}
	}
	j.digests = []decision.Digest{
		{Hours: []decision.Hour{hour(24, policy.DNS, policy.Allow, 99), hour(23, policy.DNS, policy.Allow, 1), hour(1, policy.DNS, policy.Deny, 2)}},
		{Hours: []decision.Hour{hour(1, policy.TLS, policy.WouldDeny, 3), hour(0, policy.HTTP, policy.Allow, 4), hour(-1, policy.HTTP, policy.Allow, 99)}},
	}
	o, err := Look(t.Context(), j, noon)
	if err != nil {
		t.Fatal(err)
	}
	want := []Blocked{
		{Client: till, Class: "pos", Name: "dns.google", Dest: dot.Dest, Port: 853, Plane: "firewall", Verdict: "deny", Reason: "firewall", Count: 2, Last: dot.Time},
		{Client: till, Class: "pos", Name: "ads.example", Port: 443, Plane: "connect", Verdict: "deny", Reason: "not-documented", Count: 1, Last: noon.Add(-5 * time.Minute)},
		{Client: till, Class: "pos", Name: "long.example", Port: 443, Plane: "connect", Verdict: "deny", Reason: "not-documented", Count: 5, Last: long.Until},
	}
	if d := cmp.Diff(want, o.Blocked, compare); d != "" || o.More != 0 {
		t.Error(o.More, d)
	}
	passed := []Blocked{
		{Client: till, Class: "pos", Name: "ads.example", Port: 443, Plane: "tls", Verdict: "would-deny", Reason: "other-class", Count: 1, Last: tls.Time},
	}
	if d := cmp.Diff(passed, o.Passed, compare); d != "" || o.Passing != 0 {
		t.Error(o.Passing, d)
	}
	traffic := Traffic{Start: noon.Add(-23*time.Hour - 30*time.Minute), Step: 3600, Allowed: make([]uint64, 24), Denied: make([]uint64, 24),
		Up: make([]uint64, 24), Down: make([]uint64, 24)}
	traffic.Allowed[0], traffic.Up[0], traffic.Down[0] = 1, 10, 100
	traffic.Denied[22], traffic.Up[22], traffic.Down[22] = 5, 50, 500
	traffic.Allowed[23], traffic.Up[23], traffic.Down[23] = 4, 40, 400
	if d := cmp.Diff(traffic, o.Traffic); d != "" {
		t.Error(d)
	}
}

// However many are blocked, what is told is bounded.
func TestLookBounds(t *testing.T) {
	j := &past{}
	for i := range maxGroups + 10 {
		j.records = append(j.records, decision.Record{Time: noon.Add(time.Duration(i) * time.Millisecond), Plane: policy.DNS,
			Client: netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}), Name: "ads.example"})
	}
	o, err := Look(t.Context(), j, noon)
	if err != nil || len(o.Blocked) != maxBlocked || o.More != maxGroups+10-maxBlocked {
		t.Errorf("%d and %d more: %v", len(o.Blocked), o.More, err)
	}
	if want := netip.AddrFrom4([4]byte{10, 20, 15, 255}); o.Blocked[0].Client != want {
		t.Errorf("the latest is %v, want %v", o.Blocked[0].Client, want)
	}
}

func TestOverview(t *testing.T) {
	status := Status{Version: "v1", State: "ok"}
	j := &past{err: &decision.Damage{Segment: "00000001.jsonl", Line: 7, Err: errors.New("torn off")}}
	c, stop := serve(t, Config{Journal: j, Status: func() Status { return status }, Clock: func() time.Time { return noon }})
	o, err := ask[Overview](t.Context(), c, "/v1/overview")
	if err != nil || o.Status.Version != "v1" || len(o.Traffic.Allowed) != 24 || o.Blocked == nil {
		t.Fatalf("%+v, %v", o, err)
	}
	// What can't be read is told, of the records and of the digests.
	if len(o.Damage) != 2 || o.Damage[0] != "journal segment 00000001.jsonl, line 7: torn off" {
		t.Errorf("%q", o.Damage)
	}
	j.err = errors.New("no folder")
	stop()
	c, _ = serve(t, Config{Journal: j, Status: func() Status { return status }, Clock: func() time.Time { return noon }})
	if _, err := ask[Overview](t.Context(), c, "/v1/overview"); errorText(err) != "the box refused: no folder" {
		t.Error(err)
	}
}

// Who wants to know how far the reading is, is told; nobody else gets such lines.
func TestLogProgress(t *testing.T) {
	j := &past{records: []decision.Record{{Time: noon, Seq: 1, Plane: policy.System, Event: decision.EventStart}}}
	c, _ := serve(t, Config{Journal: j})
	for _, steps := range []bool{false, true} {
		var told []decision.Progress
		records := 0
		for line, err := range c.Log(t.Context(), LogQuery{Steps: steps}) {
			switch {
			case err != nil || line.Damage != nil:
				t.Fatal(err, line.Damage)
			case line.Progress != nil:
				told = append(told, *line.Progress)
			default:
				records++
			}
		}
		if records != 1 || steps != cmp.Equal(told, []decision.Progress{{Done: 3, Total: 10}}) || !steps && told != nil {
			t.Errorf("%v: %d records, told %v", steps, records, told)
		}
	}
}

// Whoever asks again at once gets what was read for the one before, with the status of now.
func TestOverviewAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, asked := &past{}, 0
		a := NewAPI(context.Background(), Config{Journal: j, Clock: func() time.Time { return noon },
			Status: func() Status { asked++; return Status{Version: fmt.Sprint("v", asked)} }})
		for i, wait := range []time.Duration{0, fresh, time.Millisecond} {
			time.Sleep(wait)
			w := httptest.NewRecorder()
			if a.ServeHTTP(w, httptest.NewRequest("GET", "/v1/overview", nil)); w.Code != 200 {
				t.Fatal(w.Code)
			}
			if want := []int{1, 1, 2}[i]; j.reads != want || asked != i+1 {
				t.Errorf("request %d: the journal was read %d times, want %d; the status %d times", i, j.reads, want, asked)
			}
		}
	})
}

// Who does not read what he asked for keeps nobody else from it.
func TestOverviewUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAPI(context.Background(), Config{Journal: &past{}, Clock: func() time.Time { return noon }, Status: func() Status { return Status{} }})
		here, there := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.ServeHTTP(pipeWriter{there, http.Header{}}, httptest.NewRequest("GET", "/v1/overview", nil))
		}()
		synctest.Wait() // it writes
		w := httptest.NewRecorder()
		if a.ServeHTTP(w, httptest.NewRequest("GET", "/v1/overview", nil)); w.Code != 200 {
			t.Error(w.Code)
		}
		here.Close()
		<-ended
	})
}

func TestSince(t *testing.T) {
	set := storeSet(t)
	c, _ := serve(t, Config{Journal: &past{}, Policy: func() *policy.Set { return set }, Clock: func() time.Time { return noon }})
	for text, want := range map[string]time.Time{
		"":                     noon.AddDate(0, 0, -90),
		"30d":                  noon.AddDate(0, 0, -30),
		"1h30m":                noon.Add(-90 * time.Minute),
		"2026-11-01T00:00:00Z": time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
	} {
		u, err := ask[report.Usage](t.Context(), c, "/v1/usage?since="+url.QueryEscape(text))
		if err != nil || !u.Since.Equal(want) {
			t.Errorf("%q: %v, want %v; %v", text, u.Since, want, err)
		}
	}
	for _, bad := range []string{"yesterday", "-1h", "99999d", "d"} {
		if _, err := ask[report.Usage](t.Context(), c, "/v1/usage?since="+bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := ask[report.Usage](t.Context(), c, "/v1/usage?from=1h"); err == nil {
		t.Error("an unknown parameter is taken")
	}
}
