package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// announce tells everyone that the box is there: the operator, the journal and
// systemd.
func (a *appliance) announce() {
	set, origin := a.policy.set(), a.policy.origin(a.where.config)
	for _, addr := range a.resolver.Addrs() {
		a.log.Info("dns listens", "addr", addr)
	}
	a.log.Info("policy in force", "policy", set.ID(), "source", origin, "mode", set.Mode())
	a.log.Info("tillgate is up", "version", a.build.Version, "state", a.where.state, "follow", a.follow)
	a.journal.Record(decision.Record{
		Plane: policy.System,
		Event: decision.EventStart,
		Detail: fmt.Sprintf("tillgate %s started; policy %s, %s; dns %s",
			a.build.Version, set.ID(), origin, a.dnsAddrs()),
	})
	a.systemd.ready()
}

// followCommand is what shows what the box at a socket decides.
func followCommand(socket string, getenv func(string) string) string {
	if slices.Contains(sockets(getenv), socket) {
		return "tillgate log -f"
	}
	return "tillgate log -f --socket " + socket
}

// farewell tells why the box stops.
func (a *appliance) farewell(cause error) {
	var by stopped
	r := decision.Record{Plane: policy.System, Event: decision.EventStop}
	if errors.As(cause, &by) {
		r.By = by.by
		r.Detail = "tillgate " + by.Error()
	} else {
		r.Detail = "tillgate stops: " + joinLines(cause.Error())
	}
	r.Detail += ", up for " + a.clock.Now().Sub(a.started).Round(time.Second).String()
	a.log.Info("tillgate stops", "cause", cause)
	a.journal.Record(r)
}
