package console

import (
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/decision"
	"tillgate/policy"
)

func TestLogQueryValues(t *testing.T) {
	for _, q := range []LogQuery{
		{},
		{
			Query: decision.Query{
				Since:    time.Date(2026, 11, 22, 7, 0, 0, 5, time.UTC),
				Until:    time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC),
				After:    1 << 60,
				Client:   netip.MustParsePrefix("10.20.1.0/24"),
				Class:    "pos",
				Name:     "*.payxpert.com",
				Planes:   []policy.Plane{policy.DNS, policy.System},
				Verdicts: decision.Denied(),
			},
			Follow: true,
			Last:   7,
			Steps:  true,
		},
	} {
		got, err := ParseLogQuery(q.Values())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(q, got, compare); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestParseLogQuery(t *testing.T) {
	for _, tt := range []struct {
		query string
		want  LogQuery
		err   string
	}{
		{query: "client=10.20.1.7", want: LogQuery{Query: decision.Query{Client: netip.MustParsePrefix("10.20.1.7/32")}}},
		{query: "client=::ffff:10.20.1.7", want: LogQuery{Query: decision.Query{Client: netip.MustParsePrefix("10.20.1.7/32")}}},
		{query: "client=fe80::1%25eth0", want: LogQuery{Query: decision.Query{Client: netip.MustParsePrefix("fe80::1/128")}}},
		{query: "client=10.20.1.7/24", want: LogQuery{Query: decision.Query{Client: netip.MustParsePrefix("10.20.1.0/24")}}},
		{query: "name=DNS.Google.", want: LogQuery{Query: decision.Query{Name: "dns.google"}}},
		{query: "client=till", err: `client "till" is neither an address nor a network`},
		{query: "clinet=10.20.1.7", err: `unknown parameter "clinet"`},
		{query: "since=yesterday", err: `since "yesterday" is not a time in the form of RFC 3339`},
		{query: "after=-1", err: `after "-1" is not a record's seq`},
		{query: "plane=dsn", err: `unknown plane "dsn"`},
		{query: "verdict=denied", err: `unknown verdict "denied": allow, deny or would-deny`},
		{query: "follow=maybe", err: `follow "maybe" is neither 1 nor 0`},
		{query: "last=-1", err: `last "-1" is not a number of records`},
	} {
		v, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseLogQuery(v)
		if text := errorText(err); text != tt.err {
			t.Errorf("%s: error %q, want %q", tt.query, text, tt.err)
		}
		if diff := cmp.Diff(tt.want, got, compare); err == nil && diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.query, diff)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestParseQuestion(t *testing.T) {
	till := netip.MustParseAddr("10.20.1.7")
	for _, tt := range []struct {
		query string
		want  Question
		err   string
	}{
		{query: "client=10.20.1.7&name=dns.google", want: Question{Client: till, Name: "dns.google"}},
		{query: "client=10.20.1.7&name=dns.google&port=443",
			want: Question{Client: till, Name: "dns.google", Port: 443, Proto: policy.TCP, Plane: policy.Connect}},
		{query: "client=10.20.1.7&name=t.example&port=123&proto=udp&plane=ntp&interface=eth0",
			want: Question{Client: till, Interface: "eth0", Name: "t.example", Port: 123, Proto: policy.UDP, Plane: policy.NTP}},
		{query: "name=dns.google", err: `client "" is not an address`},
		{query: "client=10.20.1.7&port=0", err: `port "0" is not a number from 1 to 65535`},
		{query: "client=10.20.1.7&proto=sctp", err: `proto "sctp" is not tcp, udp or icmp`},
		{query: "client=10.20.1.7&plane=system", err: `plane "system" is not one that decides: dns, connect, tls, http, ntp or firewall`},
		{query: "client=10.20.1.7&host=dns.google", err: `unknown parameter "host"`},
	} {
		v, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseQuestion(v)
		if text := errorText(err); text != tt.err {
			t.Errorf("%s: error %q, want %q", tt.query, text, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		if diff := cmp.Diff(tt.want, got, compare); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.query, diff)
		}
		again, err := ParseQuestion(got.Values())
		if diff := cmp.Diff(got, again, compare); err != nil || diff != "" {
			t.Errorf("%s: its values read %v (-want +got):\n%s", tt.query, err, diff)
		}
	}
}

func FuzzParseLogQuery(f *testing.F) {
	f.Add("since=2026-11-22T07:00:00Z&client=10.20.1.0/24&plane=dns&plane=system&verdict=deny&follow=1&last=7")
	f.Add("until=2026-11-22T07:00:00.5%2B09:00&client=fe80::1%25eth0&name=*.X.&class=%00&after=18446744073709551615")
	f.Add("name=x..")
	f.Fuzz(func(t *testing.T, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q, err := ParseLogQuery(v)
		if err != nil {
			return
		}
		again, err := ParseLogQuery(q.Values())
		if err != nil {
			t.Fatalf("its values are refused: %v", err)
		}
		if !q.Follow {
			q.Last = 0 // of no meaning then, and not told
		}
		if diff := cmp.Diff(q, again, compare); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
