package check

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"tillgate/policy"
)

const (
	// boxName is the box itself, as its DNS and its proxy know it.
	boxName = "tillgate.internal"
	// maxWho bounds what a box says of a client, in bytes.
	maxWho = 1 << 20
)

// Who is what a box tells one of its clients: as whom it knows it, and what it lets it reach.
// Programs get it instead of the page at http://tillgate.internal/ (Accept: application/json).
type Who struct {
	Client netip.Addr `json:"client"`
	Class  string     `json:"class"`
	Policy string     `json:"policy"` // the hash's first digits
	Plan   Plan       `json:"plan"`
}

// NewWho is what a box with this policy in force tells a client of a class; now as in [NewPlan].
func NewWho(set *policy.Set, class *policy.Class, client netip.Addr, now time.Time) Who {
	return Who{client, class.Name, set.ID(), NewPlan(set, class, now)}
}

// Who asks the box that the test goes through who this machine is to it: with one request, as a
// machine in no class has few answers of it. The error is a [*Trouble]: [Stranger] if the machine
// is in no class, [Untold] if something answers that does not say it.
//
// What the box says is believed of what to try, and of nothing else. Whoever else answers at its
// address can have names of his own tried by his own DNS and proxy.
func (c *Checker) Who(ctx context.Context) (Who, error) {
	v := c.way.(via)
	ctx, cancel := context.WithTimeout(ctx, resolveTime+connectTime+answerTime)
	defer cancel()
	who, err := v.askPage(ctx)
	if err == nil {
		return who, nil
	}
	page := troubleOf(err)
	if page.Fault == NoProxy { // it may be turned off, or not be let through to
		within, cancel := context.WithTimeout(ctx, resolveTime)
		defer cancel()
		_, err := v.resolve(within, Target{Host: boxName})
		switch {
		case err == nil:
			page.Fault = Untold
		case troubleOf(err).Fault == NoDNS:
			return Who{}, &Trouble{NoDNS, troubleOf(err).Detail + "; nor is it a proxy: " + page.Detail}
		default:
			page = troubleOf(err)
		}
	}
	if page.Fault == Stranger {
		page.Detail = fmt.Sprintf("this machine (%s) is in no class of the box at %s", v.self(ctx), v.gate.Addr)
	}
	return Who{}, page
}

// askPage asks the box's proxy for its own page.
func (v via) askPage(ctx context.Context) (who Who, err error) {
	page := Target{Host: boxName, Port: httpPort}
	conn, dest, err := v.connect(ctx, page, nil)
	if err != nil {
		return who, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(0, 1)) })()
	_, err = io.WriteString(conn, "GET http://"+boxName+"/ HTTP/1.1\r\nHost: "+boxName+"\r\nAccept: application/json\r\nConnection: close\r\n\r\n")
	if err != nil {
		return who, at(connectTrouble(err), dest)
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxWho)), &http.Request{Method: http.MethodGet})
	if err != nil {
		return who, at(answerTrouble(err), dest)
	}
	defer resp.Body.Close()
	if err := proxyTrouble(resp); err != nil {
		return who, err
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		return who, &Trouble{Untold, fmt.Sprintf("%s answers %s, and not as a box of this version does", dest, resp.Status)}
	}
	if err = json.NewDecoder(resp.Body).Decode(&who); err == nil {
		err = who.valid()
	}
	if err != nil {
		return Who{}, &Trouble{Untold, fmt.Sprintf("%s answers what is no plan: %v", dest, err)}
	}
	who.Plan.Via, who.Plan.Client, who.Plan.Known, who.Plan.Policy = v.gate.Addr, who.Client, who.Class, who.Policy
	return who, nil
}

// valid returns why the answer is none that can be tried.
func (w Who) valid() error {
	if !w.Client.IsValid() || w.Class == "" || w.Plan.Class != w.Class {
		return errors.New("it names no client and class")
	}
	if len(w.Plan.Targets) > maxTargets {
		return fmt.Errorf("more than %d destinations", maxTargets)
	}
	for _, t := range w.Plan.Targets {
		name, ok := policy.WireName(t.Host)
		switch {
		case t.Skip != "":
		case !ok || name == "" || name != t.Host:
			return fmt.Errorf("%q is no host", t.Host)
		case t.Proto == policy.TCP.String() && t.Port != 0, t.Proto == policy.UDP.String() && t.Port == ntpPort:
		default:
			return fmt.Errorf("%s %q is not to be tried", t, t.Proto)
		}
	}
	return nil
}

// self is this machine's address on the way to the box.
func (v via) self(ctx context.Context) netip.Addr {
	conn, err := v.cfg.Dial(ctx, "udp", netip.AddrPortFrom(v.gate.Addr, v.gate.DNS).String())
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	return local.AddrPort().Addr().Unmap()
}

// Stop ends a test before anything was tried, for what err, a [*Trouble], says.
func (c *Checker) Stop(ctx context.Context, plan Plan, err error, emit func(Line) error) error {
	t := troubleOf(err)
	v := Verdict{Rows: []Row{}, Headline: "Nothing is tried: " + t.Fault.Text() + " (" + clip(t.Detail) + ").", Speed: c.speed(ctx, "")}
	if t.Fault == Stranger {
		v.Headline = "Nothing is tried: " + clip(t.Detail) + "."
	}
	v.Do = c.way.advice(t.Fault, nil)
	v.Advice = []Advice{{Fault: t.Fault, Text: t.Fault.Text(), Do: v.Do}}
	if err := emit(Line{Plan: &plan}); err != nil {
		return err
	}
	return emit(Line{Verdict: &v})
}
