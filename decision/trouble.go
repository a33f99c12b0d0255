package decision

import (
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
		j.cfg.Log.Error("records are lost: the journal's memory is full", "waiting bytes", len(j.pending))
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
	fault error // of the last write
	since time.Time
	tidy  error     // of the last tidying
	young time.Time // the last record that was deleted before it was 365 days old
}

// written takes the outcome of a write at now, and returns what is to be told if
// it changes anything.
func (t *trouble) written(err error, now time.Time) (change string) {
	switch {
	case err != nil && t.fault == nil:
		t.since = now
		change = "the journal cannot be written; records wait in memory"
	case err == nil && t.fault != nil:
		change = fmt.Sprintf("the journal is written again, after %v", now.Sub(t.since).Round(time.Second))
	}
	t.fault = err
	return change
}

// tell tells the operator, and the journal, what has become of the journal.
func (j *Journal) tell(change string, err error) {
	r := Record{Plane: policy.System, Event: EventHealth, Detail: "journal: " + change}
	if err != nil {
		r.Detail += ": " + err.Error()
		j.cfg.Log.Error(change, "error", err)
	} else {
		j.cfg.Log.Info(change)
	}
	j.Record(r)
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
