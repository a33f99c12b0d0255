package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"tillgate/decision"
	"tillgate/policy"
)

// A policySource is where the policy in force comes from: files that are
// followed, or without a folder the embedded one, which never changes.
type policySource struct {
	set      func() *policy.Set
	serve    func(context.Context) error
	reload   func()
	err      func() (time.Time, error)
	onChange func(func(policy.Change))
	embedded *policy.Set
}

func openPolicy(where places, now func() time.Time) (policySource, error) {
	embedded, err := policy.Embedded()
	if err != nil {
		return policySource{}, err
	}
	if where.config == "" {
		var tell func(policy.Change)
		return policySource{
			set:      func() *policy.Set { return embedded },
			serve:    func(ctx context.Context) error { <-ctx.Done(); return nil },
			onChange: func(f func(policy.Change)) { tell = f },
			reload: func() {
				tell(policy.Change{Cause: policy.CauseReload, Old: embedded, New: embedded, Summary: []string{"the embedded policy never changes"}})
			},
			err:      func() (time.Time, error) { return time.Time{}, nil },
			embedded: embedded,
		}, nil
	}
	store, err := policy.OpenStore(policy.StoreConfig{
		Dir:      where.config,
		LastGood: filepath.Join(where.state, "policy.last-good"),
		Now:      now,
	})
	if err != nil {
		return policySource{}, err
	}
	return policySource{
		set:      store.Set,
		serve:    store.Serve,
		reload:   store.Reload,
		err:      store.Err,
		onChange: store.OnChange,
		embedded: embedded,
	}, nil
}

// origin says where the set in force came from.
func (s policySource) origin(dir string) string {
	if s.set().Hash() == s.embedded.Hash() {
		return "embedded"
	}
	return dir
}

// reload reads the policy again, as SIGHUP asks.
func (a *appliance) reload() {
	a.systemd.reloading()
	a.policy.reload()
}

// A policyChange is when and how the policy in force came to be so.
type policyChange struct {
	at      time.Time
	summary []string
}

// policyChanged turns a reading of the files into a record.
func (a *appliance) policyChanged(c policy.Change) {
	r := decision.Record{Plane: policy.Policy, Event: decision.EventChange, By: string(c.Cause)}
	if c.Err != nil {
		r.Detail = "refused, " + c.New.ID() + " stays in force: " + joinLines(c.Err.Error())
		a.log.Error("the policy's files are bad; the last good policy stays in force",
			"policy", c.New.ID(), "cause", c.Cause, "err", c.Err)
	} else {
		r.Detail = c.New.ID() + " in force: " + joinLines(strings.Join(c.Summary, "\n"))
		a.log.Info("policy in force", "policy", c.New.ID(), "cause", c.Cause, "changes", strings.Join(c.Summary, "; "))
		if c.Old == nil || c.Old.Hash() != c.New.Hash() {
			a.lastChange.Store(&policyChange{a.clock.Now(), c.Summary})
		}
	}
	a.journal.Record(r)
	if c.Cause == policy.CauseReload {
		a.systemd.ready()
	}
}

// maxDetail bounds what a record says in words, in bytes.
const maxDetail = 4 << 10

// joinLines makes one line of several, and cuts off what is too much.
func joinLines(text string) string {
	text = strings.ReplaceAll(text, "\n", "; ")
	if len(text) <= maxDetail {
		return text
	}
	cut := maxDetail
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + " ..."
}
