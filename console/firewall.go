package console

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// Firewall is what the keeper of the packet filter asks of the box, and tells it.
type Firewall struct {
	// Rules returns the rules of the policy in force, as nft -f reads them. While their
	// hash is have it waits, until ctx ends, and then returns them all the same.
	Rules func(ctx context.Context, have string) (FirewallRules, error)
	// Asked is told when who may change the box asks for rules, and says what he has in force.
	Asked func(have string)
	// Record takes a record of what the packet filter refused.
	Record func(decision.Record)
}

// FirewallRules are rules with the hash of their text.
type FirewallRules struct {
	Hash     string         `json:"hash"`
	Text     string         `json:"text"`
	Networks []netip.Prefix `json:"networks,omitempty"` // of the classes: whose older connections are to end
	Gaps     []string       `json:"gaps,omitempty"`     // sentences on what the rules leave open
}

const (
	// rulesWithin bounds how long a request waits for other rules.
	rulesWithin = 5 * time.Second
	// maxRecords bounds what is handed over at once; maxRecordsBody in bytes.
	maxRecords     = 1024
	maxRecordsBody = 1 << 20
	recordsType    = "application/x-ndjson"
)

func (a *API) firewall(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), rulesWithin)
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)()
	have := r.URL.Query().Get("have")
	if c := callerOf(ctx); have != "" && c.change && c.local {
		a.cfg.Firewall.Asked(have)
	}
	rules, err := a.cfg.Firewall.Rules(ctx, have)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err)
		return
	}
	reply(w, rules)
}

// taken is the answer to records.
type taken struct {
	Records int `json:"records"`
}

func (a *API) firewallRecords(w http.ResponseWriter, r *http.Request) {
	if !mayManage(w, r) {
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != recordsType {
		refuse(w, http.StatusUnsupportedMediaType, errors.New("the Content-Type must be "+recordsType))
		return
	}
	records, err := readRecords(bufio.NewScanner(http.MaxBytesReader(w, r.Body, maxRecordsBody)))
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("reading the records: %w", err))
		return
	}
	for _, rec := range records {
		a.cfg.Firewall.Record(rec)
	}
	reply(w, taken{len(records)})
}

// readRecords reads records of the packet filter, all of them or none.
func readRecords(lines *bufio.Scanner) (records []decision.Record, err error) {
	for lines.Scan() {
		if len(records) == maxRecords {
			return nil, fmt.Errorf("more than %d", maxRecords)
		}
		r, err := decision.ParseRecord(bytes.Clone(lines.Bytes()))
		if err != nil {
			return nil, err
		}
		if r, err = refusal(r); err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, lines.Err()
}

// refusal checks a record of the packet filter. What the box says of records itself (when,
// under which policy) is not taken from others.
func refusal(r decision.Record) (decision.Record, error) {
	switch {
	case r.Plane != policy.Firewall || r.Event != "":
		return r, errors.New("one is no decision of the firewall")
	case r.Reason != policy.FirewallReject && r.Reason != policy.Spoofed:
		return r, fmt.Errorf("the firewall has no reason %q", r.Reason)
	case r.Verdict == policy.Allow:
		return r, errors.New("the firewall records what it refuses")
	}
	return decision.Record{Plane: r.Plane, Verdict: r.Verdict, Reason: r.Reason, Client: r.Client, Class: r.Class,
		Port: r.Port, Proto: r.Proto, Dest: r.Dest, Count: r.Count, Detail: r.Detail}, nil
}

// Firewall asks for the box's rules. If their hash is have, it waits some seconds for others.
func (c *Client) Firewall(ctx context.Context, have string) (FirewallRules, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return bounded[FirewallRules](ctx, c, http.MethodGet, "/v1/firewall?"+url.Values{"have": {have}}.Encode(), "", nil)
}

// FirewallRecords hands over records of what the packet filter refused, 1024 at most. On an
// error the box has none of them, or all: an answer may be lost.
func (c *Client) FirewallRecords(ctx context.Context, records []decision.Record) error {
	var body []byte
	for i := range records {
		body = append(records[i].AppendJSON(body), '\n')
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := bounded[taken](ctx, c, http.MethodPost, "/v1/firewall/records", recordsType, body)
	return err
}
