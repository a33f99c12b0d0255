package console

import (
	"context"
	"net/http"

	"tillgate/decision"
	"tillgate/policy"
)

// NewPassword asks for a password of the console to be set.
type NewPassword struct {
	Hash string `json:"hash"` // as [HashPassword] makes it; empty: no password from now on
}

// Reach is how the console is reached, after its password was set.
type Reach struct {
	Password    bool     `json:"password"` // one is set
	URLs        []string `json:"urls"`     // * stands for all of the box's addresses
	Fingerprint string   `json:"fingerprint,omitempty"`
	State       string   `json:"state"` // of the part console
	Text        string   `json:"text"`
}

func (c *Console) setPassword(w http.ResponseWriter, r *http.Request) {
	if !mayManage(w, r) {
		return
	}
	var body NewPassword
	if status, err := readBody(w, r, &body); err != nil {
		refuse(w, status, err)
		return
	}
	var hash *passwordHash
	did := "the console's password was removed"
	if body.Hash != "" {
		h, err := parseHash(body.Hash)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		hash, did = &h, "the console's password was set"
	}
	if err := c.web.setPassword(hash); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	c.cfg.Web.Record(decision.Record{Plane: policy.System, Event: decision.EventChange, By: callerOf(r.Context()).by, Detail: did})
	reply(w, c.reach())
}

// setPassword keeps a password, and has it in force when it returns.
func (w *web) setPassword(hash *passwordHash) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := writePassword(w.cfg.State, hash); err != nil {
		return err
	}
	w.lock.set(hash, nil)
	if !w.ended { // it may come before serve has begun
		w.settle(context.Background())
	}
	return nil
}

func (c *Console) reach() Reach {
	h := c.Health()
	r := Reach{Password: c.web.lock.locked(), URLs: []string{}, Fingerprint: c.Fingerprint(), State: h.State.String(), Text: h.Text}
	c.web.mu.Lock()
	defer c.web.mu.Unlock()
	for _, s := range c.web.sites {
		if s.l != nil {
			r.URLs = append(r.URLs, s.url())
		}
	}
	return r
}

// SetPassword sets the password of the console, or removes it, and returns how the
// console is reached from now on. All who are logged in are logged out.
func (c *Client) SetPassword(ctx context.Context, p NewPassword) (Reach, error) {
	return post[Reach](ctx, c, "/v1/console/password", p)
}
