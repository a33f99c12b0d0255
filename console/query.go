package console

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// LogQuery says what of the journal is wanted.
type LogQuery struct {
	decision.Query

	// Follow goes on with records as they come, after those that are there.
	Follow bool
	// Last is how many of the latest records to begin with when following
	// without [decision.Query.Since] and After. It is bounded by what the
	// journal holds in memory.
	Last int
	// Steps has the client told how far the reading is, as that may take minutes.
	Steps bool
}

// Values returns the query as parameters of GET /v1/log.
func (q LogQuery) Values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Add(name, value)
		}
	}
	if !q.Since.IsZero() {
		set("since", q.Since.Format(time.RFC3339Nano))
	}
	if !q.Until.IsZero() {
		set("until", q.Until.Format(time.RFC3339Nano))
	}
	if q.After != 0 {
		set("after", strconv.FormatUint(q.After, 10))
	}
	if q.Client.IsValid() {
		set("client", q.Client.String())
	}
	set("class", q.Class)
	set("name", q.Name)
	for _, p := range q.Planes {
		set("plane", p.String())
	}
	for _, d := range q.Verdicts {
		set("verdict", d.String())
	}
	if q.Follow {
		set("follow", "1")
		set("last", strconv.Itoa(q.Last))
	}
	if q.Steps {
		set("progress", "1")
	}
	return v
}

// ParseLogQuery is the inverse of [LogQuery.Values].
func ParseLogQuery(v url.Values) (LogQuery, error) {
	q := LogQuery{Query: decision.Query{Class: v.Get("class"), Name: ParseNameFilter(v.Get("name"))}}
	err := known(v, "since", "until", "after", "client", "class", "name", "plane", "verdict", "follow", "last", "progress")
	if err != nil {
		return q, err
	}
	for name, t := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if text := v.Get(name); text != "" {
			if *t, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return q, fmt.Errorf("%s %q is not a time in the form of RFC 3339", name, text)
			}
		}
	}
	if after := v.Get("after"); after != "" {
		if q.After, err = strconv.ParseUint(after, 10, 64); err != nil {
			return q, fmt.Errorf("after %q is not a record's seq", after)
		}
	}
	if client := v.Get("client"); client != "" {
		if q.Client, err = ParseClientFilter(client); err != nil {
			return q, err
		}
	}
	for _, name := range v["plane"] {
		p, ok := policy.ParsePlane(name)
		if !ok {
			return q, fmt.Errorf("unknown plane %q", name)
		}
		q.Planes = append(q.Planes, p)
	}
	for _, name := range v["verdict"] {
		d, ok := policy.ParseVerdict(name)
		if !ok {
			return q, fmt.Errorf("unknown verdict %q: allow, deny or would-deny", name)
		}
		q.Verdicts = append(q.Verdicts, d)
	}
	if follow := v.Get("follow"); follow != "" {
		if q.Follow, err = strconv.ParseBool(follow); err != nil {
			return q, fmt.Errorf("follow %q is neither 1 nor 0", follow)
		}
	}
	if steps := v.Get("progress"); steps != "" {
		if q.Steps, err = strconv.ParseBool(steps); err != nil {
			return q, fmt.Errorf("progress %q is neither 1 nor 0", steps)
		}
	}
	if last := v.Get("last"); last != "" {
		if q.Last, err = strconv.Atoi(last); err != nil || q.Last < 0 {
			return q, fmt.Errorf("last %q is not a number of records", last)
		}
	}
	return q, nil
}

// ParseClientFilter reads an address or a network.
func ParseClientFilter(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("client %q is neither an address nor a network", text)
	}
	return p.Masked(), nil
}

// ParseNameFilter returns a name or *.name in the form that queries have.
func ParseNameFilter(text string) string {
	return strings.TrimRight(strings.ToLower(text), ".")
}
