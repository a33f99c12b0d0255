package check

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// outcomes are results by a short script, one a letter: of destinations of the requirement.
func outcomes(requirement, script string) (results []Result) {
	for i, letter := range script {
		r := Result{Target: Target{Host: string(rune('a'+i)) + ".test", Port: 443, Proto: "tcp", Service: "acme/" + requirement, Requirement: requirement}}
		switch letter {
		case '.':
			r.OK, r.Issuer = true, "Good Root"
		case 't':
			r.Fault = TimedOut
		case 'r':
			r.Fault = Refused
		case 'i':
			r.Fault, r.Issuer = Intercepted, "Evil Root"
		case 'd':
			r.Fault, r.Issuer = WrongDate, "Good Root"
		case 'u':
			r.Fault, r.Detail = Unresolved, "no route"
		case '-':
			r.Skip = "many names"
		}
		results = append(results, r)
	}
	return results
}

// clocks are results of time servers that are off by so many seconds.
func clocks(seconds ...float64) (results []Result) {
	for i, s := range seconds {
		ms := s * 1000
		r := Result{Target: timeTarget(string(rune('a'+i)) + ".time.test"), OK: s*s < 4, OffsetMs: &ms}
		if !r.OK {
			r.Fault = WrongTime
		}
		results = append(results, r)
	}
	return results
}

func TestHeadline(t *testing.T) {
	join := func(parts ...[]Result) (all []Result) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for name, tt := range map[string]struct {
		class    string
		results  []Result
		troubles []string
		ok       bool
		text     string
	}{
		"nothing":                {"", outcomes("required", "--"), nil, true, "There is nothing to be tried."},
		"all":                    {"", join(outcomes("required", "..-"), outcomes("optional", ".")), nil, true, "All is well: 3 of 3 destinations are reached."},
		"one":                    {"", outcomes("required", "."), nil, true, "All is well: 1 of 1 destinations is reached."},
		"the box":                {"", outcomes("required", ".."), []string{"upstream: bad: no route"}, true, "All 2 destinations are reached, but the box is not well: upstream: bad: no route."},
		"one of them":            {"", outcomes("required", "..t"), nil, false, "1 of 3 required destinations is not reached: connections get no answer (c.test:443)."},
		"the most frequent":      {"", outcomes("required", ".trr"), nil, false, "3 of 4 required destinations are not reached: connections are refused (c.test:443, d.test:443)."},
		"a port":                 {"", outcomes("required", "tttt"), nil, false, "Nothing is reached: connections get no answer on tcp/443, whatever the host: it is blocked."},
		"a port, of others too":  {"", join(outcomes("required", "tt"), outcomes("conditional", "ttt"), clocks(0)), nil, false, "2 of 2 required destinations are not reached: connections get no answer on tcp/443, whatever the host: it is blocked."},
		"nothing, of a sick box": {"", nil, []string{"upstream: bad: no route"}, true, "There is nothing to be tried."},
		"many":                   {"", outcomes("required", ".iii"), nil, false, "3 of 4 required destinations are not reached: TLS is intercepted by Evil Root (b.test:443, c.test:443 and 1 more)."},
		"why":                    {"", outcomes("required", "uu"), nil, false, "Nothing is reached: names are not resolved, as the box can't ask its upstream (no route)."},
		"others":                 {"", join(outcomes("required", "."), outcomes("conditional", ".t")), nil, true, "All 1 required destinations are reached, but of the others 1 of 2 is not: connections get no answer (b.test:443)."},
		"of a class":             {"pos", join(outcomes("required", "."), outcomes("conditional", ".t")), nil, false, "1 of 3 destinations that class pos needs is not reached: connections get no answer (b.test:443)."},
		"optional of a class":    {"pos", join(outcomes("required", "."), outcomes("optional", "t"), outcomes("local", ".")), nil, true, "All 2 destinations that class pos needs are reached, but of the others 1 of 1 is not: connections get no answer (a.test:443)."},
		"certificates":           {"", outcomes("required", ".ddd"), nil, false, "The clock of this test is wrong: by it the certificates of 3 of 4 hosts are not valid."},
		"one certificate":        {"", outcomes("required", "...d"), nil, false, "1 of 4 required destinations is not reached: certificates are not valid at this time (d.test:443)."},
		"time servers":           {"pos", clocks(-3600, -3600.5, -3601, 0), nil, false, "The clock of this test is wrong: by 3 of 4 time servers the time is 1h0m0s behind it."},
		"one time server":        {"pos", clocks(0, 0, -3600), nil, false, "1 of 3 destinations that class pos needs is not reached: time servers have another time (c.time.test:123)."},
		"enough have it":         {"pos", clocks(0, 0, 0, -3600), nil, true, "1 of 4 destinations is not reached: time servers have another time (d.time.test:123)."},
		"they disagree":          {"pos", clocks(-3600, 50, 9000), nil, false, "Nothing is reached: time servers have another time (a.time.test:123, b.time.test:123 and 1 more)."},
	} {
		c := Direct(Config{Troubles: func() []string { return tt.troubles }}, nil)
		plan := Plan{Class: tt.class}
		for _, r := range tt.results {
			plan.Targets = append(plan.Targets, r.Target)
		}
		if v := c.judge(plan, tt.results); v.Headline != tt.text || v.OK != tt.ok {
			t.Errorf("%s: %v, %s\nwant %v, %s", name, v.OK, v.Headline, tt.ok, tt.text)
		}
	}
}

// TestClockAdvice: a clock that is wrong is one fault, however many destinations suffer from
// it; what has nothing to do with it is told besides.
func TestClockAdvice(t *testing.T) {
	results := append(outcomes("required", "ddd.t"), clocks(-3600, -3600)...)
	var plan Plan
	for _, r := range results {
		plan.Targets = append(plan.Targets, r.Target)
	}
	v := Direct(Config{}, nil).judge(plan, results)
	if len(v.Advice) != 1 || v.Advice[0].Fault != TimedOut || !strings.HasPrefix(v.Do, "set the clock") {
		t.Errorf("%s, %+v", v.Do, v.Advice)
	}
}

// TestRows has rows in the order of the plan, whatever came first, with what failed of each.
func TestRows(t *testing.T) {
	required, optional := outcomes("required", ".ttr-"), outcomes("optional", "ii")
	var plan Plan
	for _, r := range append(required, optional...) {
		plan.Targets = append(plan.Targets, r.Target)
	}
	c := Direct(Config{Fastest: func() uint64 { return 7_000_000 }}, nil)
	v := c.judge(plan, append(optional, required...))
	want := []Row{
		{Service: "acme/required", Requirement: "required", Tried: 4, Good: 1, Failures: []string{
			"connections get no answer (b.test:443, c.test:443)", "connections are refused (d.test:443)"}},
		{Service: "acme/optional", Requirement: "optional", Tried: 2, Failures: []string{"TLS is intercepted by Evil Root"}},
	}
	if diff := cmp.Diff(want, v.Rows); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// What counts comes first; each fault has its own advice, once, which names its destinations.
	var advice []string
	for _, a := range v.Advice {
		advice = append(advice, a.About())
		for _, host := range a.For {
			if !strings.Contains(a.Do, strings.TrimSuffix(host, ":443")) {
				t.Errorf("%s: %s does not name %s", a.Fault, a.Do, host)
			}
		}
	}
	told := []string{"connections get no answer (b.test:443, c.test:443)", "connections are refused (d.test:443)", "TLS is intercepted (a.test:443, b.test:443)"}
	if diff := cmp.Diff(told, advice); diff != "" || v.Do != v.Advice[0].Do {
		t.Errorf("%s (-want +got):\n%s", v.Do, diff)
	}
	if diff := cmp.Diff(Speed{Wanted: DocumentSpeed, Seen: 7_000_000}, c.speed(t.Context(), "")); diff != "" {
		t.Error(diff)
	}
}
