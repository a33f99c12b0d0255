package decision

import (
	"context"
	"fmt"
	"time"

	"tillgate/policy"
)

// loss is records that are not in the journal, for want of memory while the
// disk could not be written.
type loss struct {
	records, attempts uint64
	since, until      time.Time
}

// record returns the gap record that stands for them.
func (l *loss) record() Record {
	return Record{Time: l.since, Plane: policy.System, Event: EventGap, Count: l.attempts, Until: l.until,
		Detail: fmt.Sprintf("%d records were lost: the disk could not be written, and the memory for them was full", l.records)}
}

// lose counts a record that has no room. It is called with mu held.
func (j *Journal) lose(r *Record) {
	if j.lost.records == 0 {
		j.lost.since = r.Time
		signal(j.losing)
	}
	j.lost.records++
	j.lost.attempts += r.attempts()
	j.lost.until = r.end()
	j.stats.Dropped += r.attempts()
}

// youngest is the age that PCI DSS 10.5.1 wants logs to reach.
const youngest = 365 * 24 * time.Hour

// trouble is what is wrong with the journal. It is guarded by [Journal.mu].
type trouble struct {
	fault error // of the last write, or that it does not end
	since time.Time
	tidy  error     // of the last tidying
	young time.Time // the last record that was deleted before it was 365 days old
}

// tellLossUntil tells the operator that records begin to be lost, at once,
// however long the disk makes the one who writes wait.
func (j *Journal) tellLossUntil(ctx context.Context) {
	for {
		select {
		case <-j.losing:
			j.cfg.Log.Error("records are lost: memory has no more room for them")
		case <-ctx.Done():
			return
		}
	}
}

// patience is how long a write may take before the disk is in trouble.
func (j *Journal) patience() time.Duration { return max(3*j.cfg.Sync, 15*time.Second) }

// watch tells that a write which begins at now does not end, until ended is
// called. What it tells is told when ended returns.
func (j *Journal) watch(now time.Time) (ended func()) {
	told := make(chan struct{})
	t := time.AfterFunc(j.patience(), func() {
		defer close(told)
		j.tell(fmt.Errorf("the disk does not answer for %v", j.patience()), now)
	})
	return func() {
		if !t.Stop() {
			<-told
		}
	}
}

// tell tells the operator and the journal what a write at now has changed. The
// operator's log may wait for anything, so mu is not held.
func (j *Journal) tell(err error, now time.Time) {
	j.mu.Lock()
	t := &j.trouble
	before, since := t.fault, t.since
	if before == nil {
		t.since = now
	}
	t.fault = err
	j.mu.Unlock()

	what := ""
	switch {
	case err != nil && before == nil:
		j.cfg.Log.Error("the journal cannot be written; records wait in memory", "error", err)
		what = fmt.Sprintf("cannot be written; records wait in memory: %v", err)
	case err == nil && before != nil:
		j.cfg.Log.Info("the journal is written again", "after", now.Sub(since))
		what = fmt.Sprintf("written again, after %v", now.Sub(since).Round(time.Second))
	}
	if what != "" {
		j.Record(Record{Plane: policy.System, Event: EventHealth, Detail: "journal: " + what})
	}
}

// Health tells whether records reach the disk and are kept long enough.
func (j *Journal) Health() Health {
	j.mu.Lock()
	defer j.mu.Unlock()
	h := Health{Part: "journal"}
	switch t := &j.trouble; {
	case t.fault != nil:
		h.State, h.Since = Bad, t.since
		h.Text = fmt.Sprintf("cannot be written (%v); %d bytes wait in memory, %d records are lost; make room on the disk, or replace it",
			t.fault, len(j.pending), j.lost.records)
	case j.lost.records > 0:
		h.State, h.Since = Bad, j.lost.since
		h.Text = fmt.Sprintf("the disk is too slow; %d bytes wait in memory, %d records are lost; replace the disk",
			len(j.pending), j.lost.records)
	case !t.young.IsZero():
		h.State = Bad
		h.Text = fmt.Sprintf("records of %s had to be deleted before they were 365 days old; raise journal.max_size or journal.keep",
			t.young.Format(time.DateOnly))
	case t.tidy != nil:
		h.State = Warn
		h.Text = fmt.Sprintf("full segments cannot be compressed or deleted (%v); make room on the disk", t.tidy)
	}
	return h
}
