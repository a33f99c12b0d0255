package decision

import (
	"sync/atomic"

	"tillgate/policy"
)

// What decisions are counted by: closed lists, so that no client can make more of them.
const (
	planes   = int(policy.System) + 1
	verdicts = int(policy.WouldDeny) + 1
	reasons  = int(policy.TimeUntrusted) + 1
)

// decided counts the attempts of decisions, whether or not each has a record of its own.
type decided [planes][verdicts][reasons]atomic.Uint64

func (d *decided) add(p policy.Plane, v policy.Verdict, r policy.Reason, n uint64) {
	d[p][v][r].Add(n)
}

// Decided is how many attempts were decided in one way.
type Decided struct {
	Plane    policy.Plane
	Verdict  policy.Verdict
	Reason   policy.Reason
	Attempts uint64 // since [Open]
}

// Decided returns what was decided so far, in the order of its constants: what was never
// decided is not in it.
func (j *Journal) Decided() (list []Decided) {
	for p := range j.decided {
		for v := range j.decided[p] {
			for r := range j.decided[p][v] {
				if n := j.decided[p][v][r].Load(); n > 0 {
					list = append(list, Decided{policy.Plane(p), policy.Verdict(v), policy.Reason(r), n})
				}
			}
		}
	}
	return list
}
