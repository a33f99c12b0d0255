package console

import (
	"context"
	"errors"
	"iter"
	"time"

	"tillgate/decision"
)

// Journal is what is read and followed.
type Journal interface {
	Read(decision.Query) iter.Seq2[decision.Record, error]
	Subscribe(q decision.Query, backlog int) (*decision.Subscription, error)
	Verify(newest int) (decision.Report, error)
	ReadOn(boot string, seq uint64) uint64
	Digests(since, until time.Time) iter.Seq2[decision.Digest, error]
}

// A sink takes records one by one. An error from it ends the reading, and is
// returned.
type sink interface {
	record(*decision.Record) error
	// damage is told of a place that cannot be read.
	damage(error) error
	// flush is called when there may be nothing more for a while, which is so before
	// the first record too: it may be far to find.
	flush() error
}

// read gives the journal's records to a sink. When the query follows, it goes
// on with those to come until ctx or stopping ends; after stopping, what was
// recorded before is still given.
//
// It subscribes before it reads what is there, and passes over what it has
// given already: so no record is lost between the two, and none comes twice. A
// follower that is too slow for its queue catches up from the disk.
func read(ctx, stopping context.Context, j Journal, q LogQuery, to sink) error {
	if !q.Follow {
		if err := to.flush(); err != nil {
			return err
		}
		_, err := history(ctx, j, q.Query, to)
		return err
	}
	past := !q.Since.IsZero() || q.After != 0
	backlog := q.Last
	if past {
		backlog = 0
	}
	sub, err := j.Subscribe(q.Query, backlog)
	if err != nil {
		return err
	}
	defer sub.Close()
	defer context.AfterFunc(stopping, sub.Close)()

	given := q.After
	if past {
		if err := to.flush(); err != nil {
			return err
		}
		last, err := history(ctx, j, q.Query, to)
		if err != nil {
			return err
		}
		given = max(given, last)
	}
	for {
		if err := to.flush(); err != nil {
			return err
		}
		r, err := sub.Next(ctx)
		switch {
		case errors.Is(err, decision.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		if r.Seq == 0 { // the subscription's word on its own gap
			missed := q.Query
			missed.After = given
			last, err := history(ctx, j, missed, to)
			if err != nil {
				return err
			}
			if last > given {
				given = last
				continue
			}
		} else if r.Seq <= given {
			continue
		}
		given = max(given, r.Seq)
		if err := to.record(&r); err != nil {
			return err
		}
	}
}

// history gives what the journal holds, and returns the last record's seq.
func history(ctx context.Context, j Journal, q decision.Query, to sink) (last uint64, err error) {
	for r, err := range Select(ctx, j.Read, q) {
		var damage *decision.Damage
		switch {
		case errors.As(err, &damage):
			err = to.damage(damage)
		case err == nil:
			last = max(last, r.Seq)
			err = to.record(&r)
		}
		if err != nil {
			return last, err
		}
	}
	return last, nil
}

// Select yields the records that match q, as a reading of the journal does, and
// ends with the error of ctx when that ends: before the next record, or the next segment.
func Select(ctx context.Context, read func(decision.Query) iter.Seq2[decision.Record, error], q decision.Query) iter.Seq2[decision.Record, error] {
	told := q.Progress
	q.Progress = func(p decision.Progress) bool { return ctx.Err() == nil && (told == nil || told(p)) }
	return func(yield func(decision.Record, error) bool) {
		for r, err := range read(q) {
			if ctx.Err() != nil {
				break
			}
			if !yield(r, err) {
				return
			}
		}
		if ctx.Err() != nil {
			yield(decision.Record{}, ctx.Err())
		}
	}
}
