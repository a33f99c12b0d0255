package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net"
	"net/http"
	"sync"
	"time"
)

// Bounds of sessions. They are in memory alone: who is logged in has to do so again when
// the box starts.
const (
	sessionIdle = 30 * time.Minute
	sessionLife = 12 * time.Hour
	maxSessions = 64 // of more, that which was idle longest ends
)

// A session is somebody who has logged in.
type session struct {
	ctx    context.Context // ends with it, and so do the logs that it follows
	cancel context.CancelFunc
	used   time.Time
	idle   *time.Timer
	life   *time.Timer
}

// sessions are found by the hash of their tokens, so that a token can't be guessed by how
// long it takes to look for.
type sessions struct {
	mu    sync.Mutex
	table map[[sha256.Size]byte]*session
}

// begin returns the token of a new session.
func (t *sessions) begin() (token string) {
	token = rand.Text()
	id := sha256.Sum256([]byte(token))
	s := &session{used: time.Now()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.table == nil {
		t.table = make(map[[sha256.Size]byte]*session)
	}
	if len(t.table) >= maxSessions {
		t.drop(t.oldest())
	}
	s.idle = time.AfterFunc(sessionIdle, func() { t.end(id) })
	s.life = time.AfterFunc(sessionLife, func() { t.end(id) })
	t.table[id] = s
	return token
}

// oldest is the session that was idle longest. The caller holds mu.
func (t *sessions) oldest() (id [sha256.Size]byte) {
	var used time.Time
	for i, s := range t.table {
		if used.IsZero() || s.used.Before(used) {
			id, used = i, s.used
		}
	}
	return id
}

// use returns the context of a session, which it keeps from being idle.
func (t *sessions) use(token string) (context.Context, bool) { return t.find(token, true) }

// find returns the context of a session; used says whether somebody uses it, and not only
// a page that nobody may be looking at.
func (t *sessions) find(token string, used bool) (context.Context, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.table[sha256.Sum256([]byte(token))]
	if s == nil {
		return nil, false
	}
	if used {
		s.used = time.Now()
		s.idle.Reset(sessionIdle)
	}
	return s.ctx, true
}

func (t *sessions) end(id [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(id)
}

// forget ends the session of a token.
func (t *sessions) forget(token string) { t.end(sha256.Sum256([]byte(token))) }

func (t *sessions) endAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.table {
		t.drop(id)
	}
}

// drop ends a session. The caller holds mu.
func (t *sessions) drop(id [sha256.Size]byte) {
	if s := t.table[id]; s != nil {
		s.idle.Stop()
		s.life.Stop()
		s.cancel()
		delete(t.table, id)
	}
}

// cookieName is that of the token. Cookies don't know ports, and by ssh -L many boxes are
// localhost: so the port that the browser sees is in it.
func cookieName(s *site, r *http.Request) string {
	name := "tillgate"
	if s.secure {
		name = "__Host-tillgate"
	}
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		name += "-" + port
	}
	return name
}

// tokenOf is the token that a request has.
func tokenOf(s *site, r *http.Request) string {
	c, err := r.Cookie(cookieName(s, r))
	if err != nil {
		return ""
	}
	return c.Value
}

// giveToken has the browser keep a token, or with "" forget it.
func giveToken(w http.ResponseWriter, s *site, r *http.Request, token string) {
	c := &http.Cookie{Name: cookieName(s, r), Value: token, Path: "/", HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteStrictMode}
	if token == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
