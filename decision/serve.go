package decision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Serve writes what is recorded until ctx ends, then ends all repeat windows,
// writes and seals the rest, and returns when nothing that it started is left.
// The error is non-nil when that last write failed. It may be called once;
// records given after its end are dropped and counted.
func (j *Journal) Serve(ctx context.Context) error {
	if j.served.Swap(true) {
		return errors.New("serving the journal: it was served before")
	}
	var wg sync.WaitGroup
	wg.Go(func() { j.sweepUntil(ctx) })
	wg.Go(func() { j.tidyUntil(ctx) })
	wg.Go(func() { j.tellLossUntil(ctx) })
	j.writeUntil(ctx)
	wg.Wait()

	j.repeats.close()
	j.flush() // if this finds the disk well again, that is one more record
	j.mu.Lock()
	j.closed = true
	j.feed.close()
	j.mu.Unlock()
	err := j.flush()
	j.writing.Lock()
	j.writer.close()
	j.writing.Unlock()
	if err != nil {
		return fmt.Errorf("closing the journal: the last records are lost: %w", err)
	}
	return nil
}

// sweepUntil ends the repeat windows whose time is over.
func (j *Journal) sweepUntil(ctx context.Context) {
	t := time.NewTicker(max(j.cfg.RepeatWindow/10, 10*time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-t.C:
			j.cfg.Settle()
			j.repeats.sweep(j.cfg.Now())
		case <-ctx.Done():
			return
		}
	}
}

func (j *Journal) writeUntil(ctx context.Context) {
	t := time.NewTicker(j.cfg.Sync)
	defer t.Stop()
	early, well := j.early, true
	for {
		select {
		case <-t.C:
			if well { // counts need memory only when they are written
				j.cfg.Settle()
				j.repeats.writeCounts()
			}
		case <-early:
		case <-ctx.Done():
			return
		}
		if early, well = j.early, j.flush() == nil; !well {
			early = nil // a bad disk is tried again when Sync is over, not sooner
		}
	}
}

// flush writes and seals what waits. What cannot be written waits on.
func (j *Journal) flush() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	w := &j.writer
	now, policyID := j.cfg.Now(), j.cfg.PolicyID()

	j.mu.Lock()
	lines := bytes.Clone(j.pending)
	first, last, to := j.written+1, j.seq, j.to
	j.mu.Unlock()
	if len(lines) == 0 {
		return nil
	}
	size, number := w.size, w.number
	ended := j.watch(now)
	err := w.append(lines, first, now, to)
	ended()
	if w.number != number {
		size = 0
	}

	j.mu.Lock()
	gap, told := j.lost.record(), false
	if err == nil {
		j.pending = append(j.pending[:0], j.pending[len(lines):]...)
		if cap(j.pending) > 2*earlyFlush && len(j.pending) < earlyFlush {
			j.pending = bytes.Clone(j.pending) // it grew in an outage
		}
		if j.active != w.number {
			signal(j.untidy) // who tidies waits for mu, and so sees which one is active
		}
		j.written, j.active, j.sealed = last, w.number, w.size
		j.stats.Syncs++
		j.stats.BytesWritten += uint64(w.size - size)
		if gap.Count > 0 {
			// What came during a long write may leave no room to say so before the next.
			if told = len(j.pending) < j.limits.pending/2; told {
				gap.Policy = policyID
				j.lost = loss{}
				j.put(gap)
			}
			signal(j.early)
		}
	}
	j.mu.Unlock()
	if told {
		j.cfg.Log.Warn("the journal has a gap", "lost", gap.Count, "since", gap.Time, "until", gap.Until)
	}
	j.tell(err, j.cfg.Now())
	return err
}
