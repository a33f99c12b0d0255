package main

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// announce tells everyone that the box is there: the operator, the journal and
// systemd.
func (a *appliance) announce() {
	set, origin := a.policy.set(), a.policy.origin(a.where.config)
	said := []string{"tillgate " + a.build.Version + " started", "policy " + set.ID() + ", " + origin}
	for _, l := range a.listeners() {
		for _, addr := range l.addrs {
			a.log.Info(l.name+" listens", "addr", addr)
		}
		if len(l.addrs) > 0 {
			said = append(said, l.name+" "+joinAddrs(l.addrs))
		}
	}
	if print := a.console.Fingerprint(); print != "" {
		said = append(said, "the console's certificate is SHA-256 "+print)
	}
	a.log.Info("policy in force", "policy", set.ID(), "source", origin, "mode", set.Mode())
	a.log.Info("tillgate is up", "version", a.build.Version, "state", a.where.state, "follow", a.follow)
	a.journal.Record(decision.Record{
		Plane:  policy.System,
		Event:  decision.EventStart,
		Detail: strings.Join(said, "; "),
	})
	a.systemd.ready()
}

// listeners are those addresses that are bound, under their keys of listen.
type listeners struct {
	name  string
	addrs []netip.AddrPort
}

func (a *appliance) listeners() []listeners {
	explicit, intercepted := a.proxy.Addrs()
	return []listeners{{"dns", a.resolver.Addrs()}, {"proxy", explicit}, {"intercept", intercepted}, {"ntp", a.relay.Addrs()},
		{"console", a.console.Addrs()}}
}

func joinAddrs(addrs []netip.AddrPort) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}

// followCommand is what shows what the box at a socket decides.
func followCommand(socket string, getenv func(string) string) string {
	if slices.Contains(sockets(getenv), socket) {
		return "tillgate log -f"
	}
	return "tillgate log -f --socket " + socket
}

// farewell tells why the box stops, and of what ends with it.
func (a *appliance) farewell(cause error) {
	for _, o := range a.policy.observations() {
		a.observeChanged(o.Class, "stop", o.Ended("the box stops"))
	}
	var by stopped
	r := decision.Record{Plane: policy.System, Event: decision.EventStop}
	if errors.As(cause, &by) {
		r.By = by.by
		r.Detail = "tillgate " + by.Error()
	} else {
		r.Detail = "tillgate stops: " + joinLines(cause.Error())
	}
	r.Detail += ", up for " + time.Since(a.started).Round(time.Second).String()
	a.log.Info("tillgate stops", "cause", cause)
	a.journal.Record(r)
}
