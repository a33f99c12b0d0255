package console

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/netip"
	"sync"

	"tillgate/decision"
	"tillgate/policy"
)

// maxHashing is how many passwords are looked at, or wait for it; one is, at a time.
const maxHashing = 4

var (
	errNoPassword    = errors.New("no password is set; set one on the box: tillgate console passwd")
	errWrongPassword = errors.New("that is not the password")
	errTooOften      = errors.New("too many wrong passwords; wait half a minute")
	errBusy          = errors.New("others are logging in; try again in a few seconds")
)

// A lock is the console's password, with those that it has let in.
type lock struct {
	record   func(decision.Record)
	sessions sessions
	guesses  guesses
	waiting  chan struct{} // a token for each password that is looked at, or is to be
	hashing  chan struct{} // one for that which is

	mu     sync.Mutex
	hash   *passwordHash
	broken error             // why the password that is set can't be used
	key    [sha256.Size]byte // of this run
	known  [sha256.Size]byte // by key, the password that was right last
	same   context.Context   // ends when the password changes
	change context.CancelFunc
}

func newLock(record func(decision.Record)) *lock {
	l := &lock{record: record, waiting: make(chan struct{}, maxHashing), hashing: make(chan struct{}, 1)}
	rand.Read(l.key[:]) // never fails
	l.same, l.change = context.WithCancel(context.Background())
	return l
}

// set changes the password: nil is none. All sessions end. broken is why the one that is
// set can't be used.
func (l *lock) set(h *passwordHash, broken error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hash, l.broken, l.known = h, broken, [sha256.Size]byte{}
	l.change()
	l.same, l.change = context.WithCancel(context.Background())
	l.sessions.endAll()
}

// locked reports whether a password is asked for, though it may be that none is right.
func (l *lock) locked() bool {
	_, open := l.open()
	return !open
}

// open reports whether no password is asked for, and returns what ends when one is.
func (l *lock) open() (context.Context, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.same, l.hash == nil && l.broken == nil
}

// ready is nil if somebody can log in.
func (l *lock) ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.broken != nil:
		return l.broken
	case l.hash == nil:
		return errNoPassword
	}
	return nil
}

// login returns the token of a session.
func (l *lock) login(ctx context.Context, client netip.Addr, password string) (token string, err error) {
	err = l.try(ctx, client, password, func() { token = l.sessions.begin() })
	return token, err
}

// look is login for who asks again and again, without a session: a password that was right
// is right without being hashed, until it is changed.
func (l *lock) look(ctx context.Context, client netip.Addr, password string) error {
	mac := hmac.New(sha256.New, l.key[:])
	mac.Write([]byte(password))
	sum := [sha256.Size]byte(mac.Sum(nil))
	l.mu.Lock()
	known := l.hash != nil && hmac.Equal(sum[:], l.known[:])
	l.mu.Unlock()
	if known {
		return nil
	}
	return l.try(ctx, client, password, func() { l.known = sum })
}

// try looks at a password, and calls right under mu if it is that which is in force. Each is
// a record.
func (l *lock) try(ctx context.Context, client netip.Addr, password string, right func()) error {
	if err := l.ready(); err != nil {
		return err
	}
	who := network(client)
	if !l.guesses.take(who) {
		l.tell(client, policy.RateLimited, "", "not looked at, after too many wrong passwords")
		return errTooOften
	}
	select {
	case l.waiting <- struct{}{}:
		defer func() { <-l.waiting }()
	default:
		l.tell(client, policy.LimitReached, "", "not looked at, as too many log in at once")
		return errBusy
	}
	select {
	case l.hashing <- struct{}{}:
		defer func() { <-l.hashing }()
	case <-ctx.Done():
		l.tell(client, policy.NoReason, "", "not looked at, as the answer was not waited for")
		return ctx.Err()
	}
	l.mu.Lock()
	h := l.hash
	l.mu.Unlock()
	matches := h != nil && h.matches(password)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !matches || l.hash != h { // changed meanwhile
		l.tell(client, policy.NoReason, "", "wrong password")
		return errWrongPassword
	}
	right()
	l.guesses.right(who)
	l.tell(client, policy.NoReason, consoleUser, "logged in")
	return nil
}

// consoleUser is who is logged in, as records name him.
const consoleUser = "console"

func (l *lock) tell(client netip.Addr, reason policy.Reason, by, what string) {
	l.record(decision.Record{Plane: policy.System, Event: decision.EventLogin, Reason: reason, Client: client, By: by,
		Detail: "console, from " + client.String() + ": " + what})
}
