package firewall

import (
	"context"
	"errors"
)

// What the rules stop is seen in two ways, which the tally brings together: the log has the
// first of each kind as it happens, the counters have them all. Here both are read, and
// what comes of them is handed to the box.

// read takes what the rules log. log and err are of a first try to open it.
func (k *Keeper) read(ctx context.Context, log *packetLog, err error) {
	said := ""
	for {
		if err == nil {
			err = k.readLog(ctx, log)
		}
		if ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			k.deps.Log.Warn("blocked attempts are not seen as they happen, only counted; does another tillgate firewall keep run?", "err", err)
		}
		if pause(ctx, reopenAfter); ctx.Err() != nil {
			return
		}
		log, err = openLog(LogGroup)
	}
}

// readLog returns nil when ctx ends.
func (k *Keeper) readLog(ctx context.Context, log *packetLog) error {
	defer log.close()
	defer context.AfterFunc(ctx, log.interrupt)()
	for {
		err := log.receive(func(s sight) {
			if kind, class, ok := ParseLogPrefix(s.prefix); ok {
				k.tally.sight(labelOf(kind, class), s.attempt)
			}
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errLost):
			k.deps.Log.Warn("blocked attempts came too fast to be seen one by one; they are counted")
		case err != nil:
			return err
		}
	}
}

// count reads the counters again and again.
func (k *Keeper) count(ctx context.Context) {
	said := false
	for ctx.Err() == nil {
		err := k.harvest()
		if err != nil && !said {
			k.deps.Log.Warn("counters could not be read", "err", err)
		}
		said = err != nil
		pause(ctx, countEvery)
	}
}

func (k *Keeper) harvest() error {
	k.mu.Lock() // not while the table is a new one
	defer k.mu.Unlock()
	return harvest(k.tally)
}

// send hands records to the box. While it does not answer they stay in the tally.
func (k *Keeper) send(ctx context.Context) {
	for {
		select {
		case <-k.tally.wake:
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			k.harvest()
			k.tally.last()
			for k.hand(end) == nil && !k.tally.empty() {
			}
			return
		}
		wait := sendEvery
		if err := k.hand(ctx); err != nil {
			wait = askAgain
		}
		if !k.tally.empty() {
			k.tally.signal()
		}
		pause(ctx, wait)
	}
}

func (k *Keeper) hand(ctx context.Context) error {
	b := k.tally.take(MaxBatch)
	if len(b.records) == 0 {
		return nil
	}
	if err := k.deps.Records(ctx, b.records); err != nil {
		return err
	}
	k.tally.taken(b)
	return nil
}
