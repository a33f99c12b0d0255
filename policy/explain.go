package policy

// Suggest returns the pack's word on a name that is not documented but is known
// to be asked for beside a documented one.
func (s *Set) Suggest(name string) (Suggestion, bool) { return Suggestion{}, false }

// An Explanation is a decision with what a person wants to know beside it.
type Explanation struct {
	Decision   Decision
	Nearest    []*Rule     // the nearest rules when none of the class names it, nearest first; at most 5
	Ports      []Port      // on which the class may reach the name
	Classes    []*Class    // others that may do what was asked
	Suggestion *Suggestion // nil: none
}

// Explain decides and looks around. It takes time in proportion to the rules.
func (s *Set) Explain(r Request) Explanation { return Explanation{Decision: s.Decide(r)} }
