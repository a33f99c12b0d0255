package firewall

import (
	"bytes"
	"context"
	"sync"
	"time"
)

// guard puts the table and the backstop back when somebody has changed them.
func (k *Keeper) guard(ctx context.Context) {
	changed := make(chan struct{}, 1)
	var g sync.WaitGroup
	for _, what := range []watched{watchedTable, watchedBackstop} {
		g.Go(func() {
			for ctx.Err() == nil {
				if err := what.watch(ctx, changed); err != nil {
					k.deps.Log.Warn("that somebody changes the rules is seen late", "err", err)
				}
				pause(ctx, reopenAfter)
			}
		})
	}
	defer g.Wait()
	poll := time.NewTicker(lookEvery)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		case <-changed:
			if !gone() {
				pause(ctx, settle)
			}
		}
		if err := k.putBack(ctx); err != nil && ctx.Err() == nil {
			k.deps.Log.Error("the rules are not in force", "err", err)
		}
	}
}

// putBack looks at the table, and applies the rules again if it is not as it was made.
func (k *Keeper) putBack(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.text == nil {
		return nil
	}
	if k.standBehind() {
		k.deps.Log.Warn("somebody changed the rules of the routing policy beside the table; they are in force again")
	}
	if k.shown != nil && !gone() {
		look, cancel := context.WithTimeout(ctx, nftWithin)
		defer cancel()
		if now, err := list(look); err == nil && bytes.Equal(now, k.shown) || ctx.Err() != nil {
			return nil
		}
	}
	if k.shown != nil {
		k.deps.Log.Warn("somebody changed the box's table of rules")
	}
	if err := k.apply(ctx); err != nil {
		return err
	}
	k.deps.Log.Info("the rules are in force again")
	return nil
}

// standBehind has the backstop of k.text in force, and reports whether it was not. Where it
// can't be, the table is there all the same.
func (k *Keeper) standBehind() (changed bool) {
	rules, err := backstopOf(k.text)
	if err == nil {
		changed, err = setBackstop(rules)
	}
	said := k.bare
	if k.bare = ""; err != nil {
		k.bare = err.Error()
	}
	if err != nil && k.bare != said {
		k.deps.Log.Error("a flush of the rules would open the way", "err", err)
	}
	return changed && err == nil
}
