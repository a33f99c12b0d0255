package console

import (
	"context"
	"errors"
	"net/http"
)

// Session is what GET /v1/session answers.
type Session struct {
	Login     bool   `json:"login"`          // nothing is told before a login
	User      string `json:"user,omitempty"` // who is logged in
	MayChange bool   `json:"may_change"`
	Hint      string `json:"hint,omitempty"` // what to do to be allowed to change something
}

// hintLook is why who is not logged in changes nothing, where looking needs no password.
const hintLook = "to change anything here, set a password on the box, and log in: tillgate console passwd"

// unattended is the header of what a page asks again and again by itself: that is no use of
// a session, or an open page would never let it end.
const unattended = "Tillgate-Unattended"

// forUsers serves the API to who is logged in, and to this machine as long as there is no
// password. Streams end with what they were allowed by.
func (w *web) forUsers(s *site, api http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		who := caller{by: consoleUser, change: true}
		allowed, ok := w.lock.sessions.find(tokenOf(s, r), r.Header.Get(unattended) == "")
		if !ok && !s.secure {
			who = caller{hint: hintLook}
			allowed, ok = w.lock.open()
		}
		if !ok {
			refuse(rw, http.StatusUnauthorized, errors.New("log in first"))
			return
		}
		ctx, cancel := context.WithCancel(withCaller(r.Context(), who))
		defer cancel()
		defer context.AfterFunc(allowed, cancel)()
		api.ServeHTTP(rw, r.WithContext(ctx))
	})
}

func (w *web) session(s *site, r *http.Request) Session {
	if _, ok := w.lock.sessions.use(tokenOf(s, r)); ok {
		return Session{User: consoleUser, MayChange: true}
	}
	if s.secure || w.lock.locked() {
		return Session{Login: true}
	}
	return Session{Hint: hintLook}
}

func (w *web) login(s *site) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		var body struct {
			Password string `json:"password"`
		}
		if status, err := readBody(rw, r, &body); err != nil {
			refuse(rw, status, err)
			return
		}
		token, err := w.lock.login(r.Context(), clientOf(r), body.Password)
		if err != nil {
			refuseLogin(rw, err)
			return
		}
		w.lock.sessions.forget(tokenOf(s, r)) // that of before
		giveToken(rw, s, r, token)
		reply(rw, Session{User: consoleUser, MayChange: true})
	}
}

func (w *web) logout(s *site) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		if status, err := readBody(rw, r, &struct{}{}); err != nil {
			refuse(rw, status, err)
			return
		}
		w.lock.sessions.forget(tokenOf(s, r))
		giveToken(rw, s, r, "")
		reply(rw, w.session(s, r))
	}
}

func refuseLogin(w http.ResponseWriter, err error) {
	status := http.StatusForbidden
	switch {
	case errors.Is(err, errTooOften):
		w.Header().Set("Retry-After", "30")
		status = http.StatusTooManyRequests
	case errors.Is(err, errBusy):
		w.Header().Set("Retry-After", "5")
		status = http.StatusServiceUnavailable
	}
	refuse(w, status, err)
}
