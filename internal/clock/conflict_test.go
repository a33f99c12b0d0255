package clock

import (
	"errors"
	"testing"
	"time"
)

// conflict is a box that has believed time servers before it saw a chain which
// contradicts them.
func conflict(t *testing.T) *boot {
	t.Helper()
	b := newBoot(t, Config{})
	b.lied = true
	b.wall = -50 * year // it does not say who is right
	b.add(year, year, year)
	b.poll()
	b.level(Fine)
	if p, err := b.verify(); !errors.Is(err, ErrConflict) || p != (Proof{}) {
		t.Fatalf("a chain against the quorum: %+v, %v", p, err)
	}
	b.level(None)
	b.poll()
	b.level(None)
	if p, err := b.verify(); !errors.Is(err, ErrConflict) || p != (Proof{}) {
		t.Fatalf("the same again: %+v, %v", p, err)
	}
	if err := b.clock.Dated(Proof{NotBefore: b.chain[0].NotBefore, NotAfter: b.chain[0].NotAfter, Provisional: true}, b.truth); !errors.Is(err, ErrConflict) {
		t.Fatalf("a Date: %v", err)
	}
	b.level(None)
	if got := b.clock.State(); !got.Trusted.Equal(release) {
		t.Fatalf("left to the next run: %+v", got)
	}
	return b
}

// The system's clock tells who is right, if it agrees with the chain: at once, or when it is set.
// So it does not matter who was heard first.
func TestConflictSettledByWall(t *testing.T) {
	for _, late := range []bool{false, true} {
		b := newBoot(t, Config{})
		if late {
			b = conflict(t)
			b.wall = 0
		} else {
			b.lied = true
			b.add(year, year, year)
			b.poll()
			b.level(Fine)
		}
		b.proved()
		b.level(Coarse)
		b.near(time.Second)
		b.poll()
		b.level(Coarse)
		b.proved()
		for _, server := range b.servers {
			server.wrong = 0
		}
		for range 3 {
			b.poll()
		}
		b.level(Fine)
		b.near(20 * time.Millisecond)
	}
}

// Neither the chain nor the quorum is believed until they agree, or one of them is gone.
func TestConflict(t *testing.T) {
	t.Run("the servers were wrong", func(t *testing.T) {
		b := conflict(t)
		for _, server := range b.servers {
			server.wrong = 0
		}
		for range 3 {
			b.poll()
		}
		b.level(Fine)
		b.near(20 * time.Millisecond)
		b.proved()
	})
	t.Run("the chain was old", func(t *testing.T) {
		b := conflict(t)
		b.truth = b.truth.Add(year) // as the servers say
		for _, server := range b.servers {
			server.wrong = 0
		}
		b.chain = b.ca.chain(t, "2028-02-01 00:00:00", "2028-04-20 00:00:00")
		b.proved()
		b.level(Fine)
		b.near(20 * time.Millisecond)
		b.poll()
		b.level(Fine)
		b.chain = b.ca.chain(t, "2027-02-01 00:00:00", "2027-04-20 00:00:00")
		if _, err := b.verify(); err == nil {
			t.Error("the old chain is good")
		}
		b.level(Fine)
	})
	t.Run("the servers stay with it", func(t *testing.T) {
		b := conflict(t)
		for range 5 {
			b.pass(claimLife / 2)
			b.poll()
			if _, err := b.verify(); !errors.Is(err, ErrConflict) {
				t.Error(err)
			}
			b.level(None)
		}
	})
	t.Run("the servers do not answer any more", func(t *testing.T) {
		b := conflict(t)
		b.pass(claimLife - time.Minute)
		if _, err := b.verify(); !errors.Is(err, ErrConflict) {
			t.Errorf("before that is sure: %v", err)
		}
		b.pass(2 * time.Minute)
		if err := b.clock.Dated(b.provisional(), b.truth); err != nil {
			t.Error(err)
		}
		b.level(Coarse)
		b.near(time.Second)
		b.poll()
		b.level(Coarse)
	})
}

// A quorum from before the floor is not believed either, though an old chain agrees with it.
func TestConflictBeforeTheFloor(t *testing.T) {
	b := conflict(t)
	floor := b.clock.Floor()
	for _, server := range b.servers {
		server.wrong = release.AddDate(0, -2, 0).Sub(b.truth)
	}
	for range 3 {
		b.poll()
	}
	b.level(None)
	b.chain = b.ca.chain(t, "2026-09-01 00:00:00", "2026-11-01 00:00:00")
	if p, err := b.verify(); err == nil {
		t.Errorf("a chain that ended before %v: %+v", floor, p)
	}
	b.level(None)
	if floor.After(b.clock.Floor()) {
		t.Errorf("the floor fell to %v", b.clock.Floor())
	}
}
