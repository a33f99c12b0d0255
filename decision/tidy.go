package decision

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tillgate/policy"
)

// tidyEvery is how often ages are looked at. A full segment is compressed, and
// the size of all looked at, at once.
const tidyEvery = time.Hour

func (j *Journal) tidyUntil(ctx context.Context) {
	t := time.NewTicker(tidyEvery)
	defer t.Stop()
	for {
		err := j.tidy(ctx)
		if ctx.Err() != nil {
			return
		}
		j.mu.Lock()
		known := j.trouble.tidy != nil
		j.trouble.tidy = err
		j.mu.Unlock()
		if err != nil && !known {
			j.cfg.Log.Warn("full segments of the journal cannot be compressed or deleted", "error", err)
		}
		select {
		case <-t.C:
		case <-j.untidy:
		case <-ctx.Done():
			return
		}
	}
}

// tidy compresses the full segments, and deletes those that are too old or too
// many. An error in one step does not hinder the others.
func (j *Journal) tidy(ctx context.Context) error {
	all, err := list(j.cfg.Dir)
	if err != nil {
		return err
	}
	j.mu.Lock()
	active := j.active
	j.mu.Unlock()
	full := 0
	for ; full < len(all) && all[full].number < active; full++ {
		if l := &all[full]; l.plain {
			if e := pack(ctx, &j.disk, j.cfg.Dir, l.number); e == nil {
				l.plain, l.packed = false, true
			} else if err == nil {
				err = e
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if full == len(all) {
		return err // nothing is written yet, or it was deleted by hand
	}
	return cmp.Or(err, j.prune(all, full))
}

// sizes returns what the files of the folder take of the disk, by name.
func sizes(dir string) (map[string]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	m := make(map[string]int64)
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it is gone
			m[e.Name()] = (info.Size() + 4095) &^ 4095
		}
	}
	return m, nil
}

// prune deletes the oldest of all segments, of which some are full: those whose
// records are all older than keep, and as many as max_size asks for. Room for
// two segments is kept free, one to be written and one to be compressed into,
// so that the folder does not grow beyond max_size between two calls.
func (j *Journal) prune(all []listed, full int) error {
	size, err := sizes(j.cfg.Dir)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, n := range size {
		total += n
	}
	now, trusted := j.cfg.Trusted()
	old := 0
	for i := 0; trusted && i < full; i++ {
		s, _ := peek(j.cfg.Dir, all[i].number)
		if s.Trusted.IsZero() {
			continue // as old as the next one that knows
		}
		if now.Sub(s.Trusted) <= j.cfg.Keep {
			break
		}
		old = i + 1
	}
	gone, why := 0, fmt.Sprintf("older than %g days", j.cfg.Keep.Hours()/24)
	for ; gone < full && (gone < old || total > j.cfg.MaxSize-2*int64(j.limits.segment)); gone++ {
		if gone == old {
			why = fmt.Sprintf("for a max_size of %d bytes", j.cfg.MaxSize)
		}
		total -= size[plainName(all[gone].number)] + size[packedName(all[gone].number)]
	}

	oldest, _ := peek(j.cfg.Dir, all[gone].number) // if it is damaged it tells less
	if gone > 0 {
		err = j.delete(all[:gone], &oldest.Header, why)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stats.Segments, j.stats.Bytes, j.stats.Oldest = len(all)-gone, total, oldest.From
	// What the oldest segment says of the one before holds over restarts, too.
	if to := oldest.Header.Prev.To; trusted {
		j.trouble.young = time.Time{}
		if oldest.Header.Segment > 1 && now.Sub(to) < youngest {
			j.trouble.young = to
		}
	}
	return err
}

// delete deletes segments, the oldest first, so that a crash leaves no hole.
// That it does is on the disk before, if the disk can be written.
func (j *Journal) delete(gone []listed, next *header, why string) error {
	what := fmt.Sprintf("segments %08d to %08d are deleted, %s", gone[0].number, gone[len(gone)-1].number, why)
	if next.First > 0 {
		what += fmt.Sprintf("; seq %d is now the first", next.First)
	}
	if to := next.Prev.To; !to.IsZero() {
		what += "; the last deleted record is of " + to.Format(time.RFC3339)
	}
	j.Record(Record{Plane: policy.System, Event: EventPrune, Detail: what})
	j.flush()
	for _, l := range gone {
		for _, name := range []string{plainName(l.number), packedName(l.number)} {
			if err := j.disk.remove(filepath.Join(j.cfg.Dir, name)); err != nil && !os.IsNotExist(err) {
				return fmt.Errorf("deleting a segment: %w", err)
			}
		}
	}
	return j.disk.syncDir(j.cfg.Dir)
}
