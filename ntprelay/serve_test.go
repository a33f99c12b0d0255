package ntprelay

import (
	"testing"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// Who may have the time gets it, who may not hears nothing; there is a record either way.
func TestServe(t *testing.T) {
	good := packet(first(4, client), time.Time{})
	for _, tt := range []struct {
		name, from string
		packet     []byte
		answered   bool
		record     string
	}{
		{"documented", till, good, true, "allow documented 10.0.0.5 till payxpert/sunmi-ntp"},
		{"IPv6", "[fd00:1::5]:40000", good, true, "allow documented fd00:1::5 till payxpert/sunmi-ntp"},
		{"time: true", pos, good, true, "allow local-service 10.0.1.5 pos"},
		{"another class has it", office, good, false, "deny other-class 10.0.9.5 office payxpert/sunmi-ntp"},
		{"observed", lab, good, true, "would-deny other-class 10.0.8.5 lab payxpert/sunmi-ntp"},
		{"in no class", "10.9.9.9:40000", good, false, "deny unknown-client 10.9.9.9 "},
		{"the Internet", "198.51.100.7:123", good, false, "deny unknown-client 198.51.100.7 "},
		{"a bad one in no class", "198.51.100.7:123", good[1:], false, "deny unknown-client 198.51.100.7 "},
		{"a bad one", till, good[1:], false, "deny malformed 10.0.0.5 till payxpert/sunmi-ntp: not as long as an NTP packet"},
		{"a control message", till, packet(first(2, 6), start), false, "deny malformed 10.0.0.5 till payxpert/sunmi-ntp: not a request for the time"},
		{"a bad one, observed", lab, good[1:], false, "deny malformed 10.0.8.5 lab payxpert/sunmi-ntp: not as long as an NTP packet"},
	} {
		b := newBench(t)
		b.synchronise()
		if got := b.ask(tt.from, tt.packet); (got != nil) != tt.answered {
			t.Errorf("%s: answered %+v", tt.name, got)
		}
		if got := b.gist(); got != tt.record {
			t.Errorf("%s: recorded %q, want %q", tt.name, got, tt.record)
		}
	}
}

// What has its like in the records is counted there, and by the relay.
func TestRepeats(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Rate, c.Burst = 1, 2 })
	b.clients.random = func() uint32 { return 1 }
	b.synchronise()
	good := packet(first(4, client), time.Time{})
	b.records.repeats.Store(true)
	for range 5 {
		b.ask(till, good)
		b.ask(office, good)
		b.ask("10.9.9.9:1", good)
		b.ask(pos, good[1:])
	}
	if got := b.gist(); got != "" {
		t.Errorf("recorded %s", got)
	}
	want := Stats{Requests: 20, Answered: 2, Denied: 10, Dropped: 8, Clients: 1}
	if got := b.Stats(); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// The keys of the outcomes differ, so that none is counted as another's repeat.
func TestOutcomes(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Rate, c.Burst = 1, 2 })
	b.clients.random = func() uint32 { return 1 }
	b.parked.close()
	good := packet(first(4, client), time.Time{})
	b.ask(till, good) // no time
	b.synchronise()
	b.ask(till, good)     // time
	b.ask(till, good)     // too fast
	b.ask(till, good[1:]) // bad
	seen := make(map[decision.Key]bool)
	var reasons []policy.Reason
	for _, rec := range b.records.take() {
		if rec.Plane != policy.NTP || rec.Proto != policy.UDP || seen[rec.Key()] {
			t.Errorf("record %+v", rec)
		}
		seen[rec.Key()] = true
		reasons = append(reasons, rec.Reason)
	}
	if len(reasons) != 4 || reasons[0] != policy.TimeUntrusted || reasons[1] != policy.Documented ||
		reasons[2] != policy.RateLimited || reasons[3] != policy.Malformed {
		t.Errorf("reasons %v", reasons)
	}
	if got, want := b.Stats(), (Stats{Requests: 4, Answered: 1, NoTime: 1, Dropped: 2, Clients: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// The relay says when it is off, and when it is not but serves nobody.
func TestHealth(t *testing.T) {
	for _, tt := range []struct {
		name, policy string
		listen       []string
		prefix, end  string
	}{
		{"nobody to ask", noServers, []string{":0"}, "off: ", ""},
		{"nobody to ask, and nobody asks", noServers, nil, "off: ", ""},
		{"nobody asks", testPolicy, nil, "", "; listen.ntp is empty, so no client is served"},
		{"on", testPolicy, []string{":0"}, "", ""},
	} {
		b := newBench(t, func(c *Config) { c.Listen = tt.listen })
		b.set = compile(t, tt.policy)
		want := b.sourcesHealth()
		want.Text = tt.prefix + want.Text + tt.end
		if got := b.Health(); got != want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
}

// With nobody to have the time of, clients are told so at once.
func TestNoServers(t *testing.T) {
	b := newBench(t)
	b.set = compile(t, noServers)
	got := b.ask(pos, packet(first(4, client), start))
	if got == nil || got.leap != unknown {
		t.Errorf("answered %+v", got)
	}
	if got := b.gist(); got != "deny time-untrusted 10.0.1.5 pos" {
		t.Errorf("recorded %q", got)
	}
}
