package report

import (
	"fmt"
	"time"

	"tillgate/decision"
)

// Journal is whether the journal is as it was written, and exactly what was looked at.
type Journal struct {
	Segments int       `json:"segments"`           // that touch the time of the report
	Oldest   time.Time `json:"oldest,omitzero"`    // record that is kept
	Links    int       `json:"links"`              // segments that were found to follow the one before
	Unlinked []string  `json:"unlinked,omitempty"` // those that do not
	Broken   []string  `json:"broken,omitempty"`   // places that do not fit their seals
	Full     bool      `json:"full"`               // the seals of all segments were checked, not of the newest alone
	Checked  Checked   `json:"checked"`            // record by record
}

// Checked is what of the journal was read and compared with its seals.
type Checked struct {
	Segments int      `json:"segments"`
	Seals    int      `json:"seals"`
	Records  int      `json:"records"`
	FirstSeq uint64   `json:"first_seq"`
	LastSeq  uint64   `json:"last_seq"`
	LastSeal string   `json:"last_seal,omitempty"` // to be noted elsewhere
	Notices  []string `json:"notices,omitempty"`
}

// Good reports whether nothing of what was looked at is broken.
func (j *Journal) Good() bool { return len(j.Unlinked)+len(j.Broken) == 0 }

// chain follows the segments' headers, each of which names the last seal of the one before.
type chain struct {
	out    Journal
	before *decision.Digest
}

func (c *chain) add(d *decision.Digest) {
	c.out.Segments++
	if c.before != nil {
		if err := d.Follows(c.before); err == nil {
			c.out.Links++
		} else if len(c.out.Unlinked) < maxDamaged {
			c.out.Unlinked = append(c.out.Unlinked, err.Error())
		}
	}
	c.before = d
}

// Check has the records of the newest n segments compared with their seals, of all if n is
// zero: those take a minute for each few hundred.
func (j *Journal) Check(verify func(newest int) (decision.Report, error), n int) error {
	rep, err := verify(n)
	if err != nil {
		return fmt.Errorf("verifying the journal: %w", err)
	}
	j.Full, j.Broken = n == 0, nil
	j.Checked = Checked{Segments: rep.Segments, Seals: rep.Seals, Records: rep.Records, FirstSeq: rep.FirstSeq, LastSeq: rep.LastSeq,
		LastSeal: rep.LastSeal, Notices: rep.Notices}
	if rep.Broken != nil {
		j.Broken = append(j.Broken, rep.Broken.String())
		if rep.Breaks > 1 {
			j.Broken = append(j.Broken, fmt.Sprintf("and %d more places; tillgate log verify", rep.Breaks-1))
		}
	}
	return nil
}
