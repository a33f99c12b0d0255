package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tillgate/decision"
	"tillgate/policy"
)

func TestFirewallRules(t *testing.T) {
	var asked string
	var broken error
	c, _ := serve(t, Config{Firewall: Firewall{
		Rules: func(_ context.Context, have string) (FirewallRules, error) {
			asked += ", " + have
			return FirewallRules{Hash: "ab12", Text: "table inet tillgate {}\n"}, broken
		},
		Asked: func(have string) { asked = "asked " + have },
	}})
	got, err := c.Firewall(t.Context(), "cd 34&")
	if diff := cmp.Diff(FirewallRules{Hash: "ab12", Text: "table inet tillgate {}\n"}, got); err != nil || diff != "" || asked != "asked cd 34&, cd 34&" {
		t.Errorf("asked with %q, answered %v (-want +got):\n%s", asked, err, diff)
	}
	broken = errors.New("class terminal has no interface")
	if _, err := c.Firewall(t.Context(), ""); errorText(err) != "the box refused: class terminal has no interface" {
		t.Errorf("refused: %v", err)
	}
}

// Who waits for other rules has an answer in time, and at once when the box stops.
func TestFirewallRulesWait(t *testing.T) {
	for _, stops := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			stopping, stop := context.WithCancel(t.Context())
			defer stop()
			// Who asks is not known here, so it is not asked by a keeper.
			api := NewAPI(stopping, Config{Firewall: Firewall{Rules: func(ctx context.Context, have string) (FirewallRules, error) {
				<-ctx.Done()
				return FirewallRules{Hash: have}, nil
			}}})
			if stops {
				stop()
			}
			w := httptest.NewRecorder()
			api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/firewall?have=x", nil)) // a deadlock unless it ends
			if got := w.Body.String(); got != `{"hash":"x","text":""}`+"\n" {
				t.Errorf("answered %s", got)
			}
		})
	}
}

func TestFirewallRecords(t *testing.T) {
	var got []decision.Record
	c, _ := serve(t, Config{Firewall: Firewall{Record: func(r decision.Record) { got = append(got, r) }}})
	want := []decision.Record{
		{Plane: policy.Firewall, Reason: policy.FirewallReject, Client: netip.MustParseAddr("10.20.0.11"), Class: "pos", Port: 853, Proto: policy.TCP,
			Dest: netip.MustParseAddrPort("8.8.8.8:853"), Count: 7},
		{Plane: policy.Firewall, Verdict: policy.WouldDeny, Reason: policy.FirewallReject, Class: "pc", Count: 90, Detail: "various"},
	}
	sent := append([]decision.Record(nil), want...)
	sent[1].Seq, sent[1].Boot, sent[1].Policy = 99, "forged", "forged" // the box's to say
	if err := c.FirewallRecords(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFirewallRecordsRefused(t *testing.T) {
	const good = `{"plane":"firewall","verdict":"deny","reason":"firewall","client":"10.20.0.11"}` + "\n"
	me := os.Geteuid()
	for _, tt := range []struct {
		name   string
		who    caller
		kind   string
		body   string
		status int
	}{
		{"as it should be", asUser(me), recordsType, good + good, 200},
		{"root", asUser(0), recordsType, good, 200},
		{"who is logged in on TCP", caller{by: "console", change: true}, recordsType, good, 403},
		{"another user", asUser(me + 1), recordsType, good, 403},
		{"nobody known", caller{}, recordsType, good, 403},
		{"a form", asUser(me), "text/plain", good, 415},
		{"another plane", asUser(me), recordsType, good + strings.Replace(good, `"firewall"`, `"dns"`, 1), 400},
		{"another reason", asUser(me), recordsType, strings.Replace(good, `"reason":"firewall"`, `"reason":"rate"`, 1), 400},
		{"allowed", asUser(me), recordsType, strings.Replace(good, "deny", "allow", 1), 400},
		{"no decision", asUser(me), recordsType, strings.Replace(good, "{", `{"event":"gap",`, 1), 400},
		{"no record", asUser(me), recordsType, good + "{\n", 400},
		{"too many", asUser(me), recordsType, strings.Repeat(good, maxRecords+1), 400},
		{"too long", asUser(me), recordsType, good + strings.Repeat(" ", maxRecordsBody), 400},
	} {
		taken := 0
		api := NewAPI(t.Context(), Config{
			Firewall: Firewall{Record: func(decision.Record) { taken++ }},
			Log:      slog.New(slog.DiscardHandler),
		})
		r := httptest.NewRequestWithContext(withCaller(t.Context(), tt.who), "POST", "/v1/firewall/records", strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.kind)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code != tt.status || (taken > 0) != (tt.status == 200) {
			t.Errorf("%s: status %d, want %d; %d were taken", tt.name, w.Code, tt.status, taken)
		}
	}
}
