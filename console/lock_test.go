package console

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

// openLock is a lock with a password, and what it has recorded.
func openLock(t *testing.T) (*lock, *[]decision.Record) {
	t.Helper()
	records := new([]decision.Record)
	l := newLock(func(r decision.Record) { *records = append(*records, r) })
	l.set(quick("correct horse"), nil)
	t.Cleanup(l.sessions.endAll)
	return l, records
}

var admin = netip.MustParseAddr("10.20.9.5")

func TestLogin(t *testing.T) {
	l, records := openLock(t)
	if _, err := l.login(t.Context(), admin, "wrong horse"); !errors.Is(err, errWrongPassword) {
		t.Error(err)
	}
	token, err := l.login(t.Context(), admin, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	in, ok := l.sessions.use(token)
	if !ok || in.Err() != nil {
		t.Error("no session")
	}
	if _, ok := l.sessions.use(token + "A"); ok {
		t.Error("another token is good")
	}
	want := []decision.Record{
		{Plane: policy.System, Event: decision.EventLogin, Client: admin, Detail: "console, from 10.20.9.5: wrong password"},
		{Plane: policy.System, Event: decision.EventLogin, Client: admin, By: "console", Detail: "console, from 10.20.9.5: logged in"},
	}
	if got, want := fmt.Sprint(*records), fmt.Sprint(want); got != want {
		t.Errorf("recorded\n%s\nwant\n%s", got, want)
	}
	// Another password ends what the one before began.
	l.set(quick("battery staple"), nil)
	if _, ok := l.sessions.use(token); ok || in.Err() == nil {
		t.Error("the session outlives its password")
	}
	l.set(nil, nil)
	if _, err := l.login(t.Context(), admin, ""); !errors.Is(err, errNoPassword) || l.locked() {
		t.Errorf("without a password: %v", err)
	}
	l.set(nil, errPasswordFile)
	if _, err := l.login(t.Context(), admin, ""); !errors.Is(err, errPasswordFile) || !l.locked() {
		t.Errorf("with a damaged one: %v", err)
	}
}

// A client that guesses waits; others, and who comes from the machine itself, do not.
func TestGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, records := openLock(t)
		guess := func(from string) error {
			_, err := l.login(t.Context(), netip.MustParseAddr(from), "a guess")
			return err
		}
		for range guessBurst {
			if err := guess("fd00::1"); !errors.Is(err, errWrongPassword) {
				t.Fatal(err)
			}
		}
		for _, from := range []string{"fd00::1", "fd00::2"} { // of the same network
			if err := guess(from); !errors.Is(err, errTooOften) {
				t.Errorf("%s: %v", from, err)
			}
		}
		if last := (*records)[len(*records)-1]; last.Reason != policy.RateLimited || last.Client != netip.MustParseAddr("fd00::2") {
			t.Errorf("recorded %+v", last)
		}
		if _, err := l.login(t.Context(), netip.MustParseAddr("fd00::1"), "correct horse"); !errors.Is(err, errTooOften) {
			t.Errorf("the right one, too late: %v", err)
		}
		if _, err := l.login(t.Context(), admin, "correct horse"); err != nil {
			t.Errorf("another client: %v", err)
		}
		time.Sleep(guessEvery)
		if err := guess("fd00::1"); !errors.Is(err, errWrongPassword) {
			t.Errorf("after a while: %v", err)
		}
		if err := guess("fd00::1"); !errors.Is(err, errTooOften) {
			t.Errorf("and again: %v", err)
		}
		// Many together have a bound, too, which is that of the table.
		var looked int
		for i := range 100 {
			if err := guess(fmt.Sprintf("10.20.0.%d", i+1)); errors.Is(err, errWrongPassword) {
				looked++
			}
		}
		if looked > guessAllBurst || len(l.guesses.each) > guessAllBurst {
			t.Errorf("%d guesses were looked at, %d clients remembered", looked, len(l.guesses.each))
		}
		if _, err := l.login(t.Context(), admin, "correct horse"); !errors.Is(err, errTooOften) {
			t.Errorf("beyond the bound of all: %v", err)
		}
		if _, err := l.login(t.Context(), netip.MustParseAddr("127.0.0.1"), "correct horse"); err != nil {
			t.Errorf("by SSH: %v", err)
		}
		time.Sleep(time.Hour)
		if l.guesses.take(network(admin)); len(l.guesses.each) != 1 {
			t.Errorf("%d clients are remembered after an hour", len(l.guesses.each))
		}
	})
}

// One password is hashed at a time, few wait for that.
func TestHashingBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := openLock(t)
		told := make(chan decision.Record, 2*maxHashing)
		l.record = func(r decision.Record) { told <- r }
		l.hashing <- struct{}{} // one that takes long
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error)
		for range maxHashing {
			go func() {
				_, err := l.login(ctx, netip.MustParseAddr("127.0.0.1"), "correct horse")
				errs <- err
			}()
		}
		synctest.Wait()
		if _, err := l.login(ctx, admin, "correct horse"); !errors.Is(err, errBusy) {
			t.Error(err)
		}
		cancel()
		for range maxHashing {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if len(told) != maxHashing+1 {
			t.Errorf("%d records of %d attempts", len(told), maxHashing+1)
		}
	})
}

// What asks for numbers each 15 s is not hashed each time; of a password that changed, it is.
func TestLookAgain(t *testing.T) {
	l, records := openLock(t)
	for range 3 {
		if err := l.look(t.Context(), admin, "correct horse"); err != nil {
			t.Fatal(err)
		}
	}
	if len(*records) != 1 {
		t.Errorf("%d records of three looks", len(*records))
	}
	if err := l.look(t.Context(), admin, "wrong horse"); !errors.Is(err, errWrongPassword) {
		t.Error(err)
	}
	l.set(quick("battery staple"), nil)
	if err := l.look(t.Context(), admin, "correct horse"); !errors.Is(err, errWrongPassword) {
		t.Errorf("the password of before: %v", err)
	}
}

func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := openLock(t)
		idle, used := l.sessions.begin(), l.sessions.begin()
		in, _ := l.sessions.use(idle)
		var when time.Duration
		for when < sessionIdle {
			time.Sleep(sessionIdle / 2)
			when += sessionIdle / 2
			l.sessions.find(idle, false) // a page that was left open
			if _, ok := l.sessions.use(used); !ok {
				t.Fatal("a session that is used has ended")
			}
		}
		synctest.Wait()
		if _, ok := l.sessions.use(idle); ok || in.Err() == nil {
			t.Error("an idle session goes on")
		}
		for ; when < sessionLife; when += sessionIdle / 2 {
			if _, ok := l.sessions.use(used); !ok {
				t.Fatalf("a session ended after %v", when)
			}
			time.Sleep(sessionIdle / 2)
		}
		synctest.Wait()
		if _, ok := l.sessions.use(used); ok {
			t.Error("a session has no end")
		}
	})
}

func TestSessionsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := openLock(t)
		first := l.sessions.begin()
		time.Sleep(time.Second)
		second := l.sessions.begin()
		for range maxSessions - 2 {
			time.Sleep(time.Second)
			l.sessions.begin()
		}
		l.sessions.use(first)
		l.sessions.begin()
		_, isFirst := l.sessions.use(first)
		if _, isSecond := l.sessions.use(second); !isFirst || isSecond || len(l.sessions.table) != maxSessions {
			t.Errorf("the first: %v, the second: %v; %d sessions", isFirst, isSecond, len(l.sessions.table))
		}
	})
}
