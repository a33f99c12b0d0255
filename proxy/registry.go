package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"tillgate/policy"
)

// untilEvery is how often rules that end are looked at. Trusted time may be set,
// so that no timer can say when one will have ended.
const untilEvery = 5 * time.Second

// A limit bounds a number of connections, in all and of one client. A zero
// allows none.
type limit struct{ total, perClient int }

// A limitError refuses the newest connection: a bound is reached. The reason is
// policy.LimitReached.
type limitError struct {
	what   string
	n      int
	client bool // it is the client's own bound
}

func (e *limitError) Error() string {
	of := "in all"
	if e.client {
		of = "of this client"
	}
	return fmt.Sprintf("%d %s %s already", e.n, e.what, of)
}

// errStopping refuses what comes while the box stops.
var errStopping = errors.New("the box is stopping")

// A flow is what a tunnel was allowed for, to be asked about again.
type flow struct {
	policy.Request
	Dest  netip.AddrPort // that it leads to; not valid until it is connected
	NoSNI bool           // its ClientHello had none, though it has a name
}

// A registry knows every connection that is open, because of which it can
// refuse more than there may be, end those that a new policy denies and those
// whose rule has ended, and tell when the last is gone.
//
// There are two kinds. A guest has not yet said what it wants; a slot is held
// from the decision on, while the server is dialled and as long as the tunnel is
// there. Whoever holds one must release it.
type registry struct {
	// judge decides by the policy in force and by trusted time. Like all that is
	// called with the mutex held, it does not call the registry.
	judge   func(flow) policy.Decision
	trusted func() time.Time // the zero time ends nothing

	mu     sync.Mutex
	guests group[*guest]
	slots  group[*slot]
	empty  chan struct{} // set when stopping; closed when nobody is left
}

func newRegistry(guests, tunnels limit, judge func(flow) policy.Decision, trusted func() time.Time) *registry {
	return &registry{
		judge:   judge,
		trusted: trusted,
		guests:  newGroup[*guest]("connections that have asked for nothing", guests),
		slots:   newGroup[*slot]("tunnels", tunnels),
	}
}

// A guest is a connection that has yet to say what it wants.
type guest struct {
	r      *registry
	client netip.Addr
	cut    func()
}

// arrive takes in a guest. When the box stops, cut is called to close its
// connection, with the mutex held. An error is errStopping or a *[limitError].
func (r *registry) arrive(client netip.Addr, cut func()) (*guest, error) {
	g := &guest{r, client, cut}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.empty != nil {
		return nil, errStopping
	}
	if err := r.guests.add(g, client); err != nil {
		return nil, err
	}
	return g, nil
}

// release is called when the guest has said what it wants, or is gone.
func (g *guest) release() {
	g.r.mu.Lock()
	defer g.r.mu.Unlock()
	if g.r.guests.remove(g, g.client) {
		g.r.checkEmpty()
	}
}

// A slot is a tunnel's place, which it has from the decision on.
type slot struct {
	// ctx ends with the slot. When the tunnel is to end before that, its cause is
	// a *[cutError], or errStopping. It is of no more use after [slot.cutBy].
	ctx context.Context

	r      *registry
	cancel context.CancelCauseFunc // guarded by r.mu, as are
	flow   flow
	until  time.Time // the end of the rule that allows it; zero: it has none
}

// admit gives a place to a tunnel that the policy has just allowed. Should the
// policy have changed since, the slot's context has ended already. An error is
// errStopping or a *[limitError].
func (r *registry) admit(req policy.Request) (*slot, error) {
	s := &slot{r: r, flow: flow{Request: req}}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.empty != nil {
		return nil, errStopping
	}
	if err := r.slots.add(s, req.Client); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	r.judgeAgain(s)
	return s, nil
}

// connected says where the tunnel leads, since a policy may also deny that.
func (s *slot) connected(dest netip.AddrPort) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.flow.Dest = dest
	s.r.judgeAgain(s)
}

// withoutSNI says that the ClientHello had none, since not every rule is for that.
func (s *slot) withoutSNI() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.flow.NoSNI = true
	s.r.judgeAgain(s)
}

// cutBy has cut called, in a goroutine and maybe more than once, when the tunnel is to end.
// It takes the place of ctx: with what waits for it that is a kilobyte, as long as a tunnel lasts.
func (s *slot) cutBy(cut func(cause error)) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.ctx.Err() != nil {
		go cut(context.Cause(s.ctx))
		return
	}
	s.ctx, s.cancel = nil, func(cause error) { go cut(cause) }
}

// release gives the place back.
func (s *slot) release() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.ctx != nil {
		s.cancel(context.Canceled)
	}
	if s.r.slots.remove(s, s.flow.Client) {
		s.r.checkEmpty()
	}
}

// recheck ends every tunnel that the policy denies. It is called when another
// policy is in force.
func (r *registry) recheck() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.slots.members {
		r.judgeAgain(s)
	}
}

// watch ends the tunnels whose rule has ended, until ctx is done. One that
// another rule allows goes on.
func (r *registry) watch(ctx context.Context) {
	ticker := time.NewTicker(untilEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.expire(r.trusted())
		}
	}
}

func (r *registry) expire(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.slots.members {
		if !s.until.IsZero() && !now.Before(s.until) {
			r.judgeAgain(s)
		}
	}
}

// judgeAgain is called with the mutex held, so that of two judgements the later
// one counts.
func (r *registry) judgeAgain(s *slot) {
	d := r.judge(s.flow)
	s.until = time.Time{}
	switch {
	case !d.Pass() && d.Reason == policy.Expired:
		s.cancel(&cutError{byUntil, d.Reason.String()})
	case !d.Pass():
		s.cancel(&cutError{byPolicy, d.Reason.String()})
	case d.Verdict == policy.Allow && d.Rule != nil && d.Rule.Service != nil:
		s.until = d.Rule.Service.Until
	}
}

// count returns how many connections of each kind there are.
func (r *registry) count() (guests, tunnels int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.guests.members), len(r.slots.members)
}

// drain lets nobody in any more, ends the guests, gives the tunnels as long as
// within to end by themselves, ends those that have not, and returns when the
// last place has been given back. It is called once.
func (r *registry) drain(within time.Duration) {
	r.mu.Lock()
	r.empty = make(chan struct{})
	for g := range r.guests.members {
		g.cut()
	}
	r.checkEmpty()
	r.mu.Unlock()

	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-r.empty:
		return
	case <-timer.C:
	}
	r.mu.Lock()
	for s := range r.slots.members {
		s.cancel(errStopping)
	}
	r.mu.Unlock()
	<-r.empty
}

// checkEmpty is called with the mutex held when there is one less, and when the
// box begins to stop.
func (r *registry) checkEmpty() {
	if r.empty != nil && len(r.guests.members)+len(r.slots.members) == 0 {
		close(r.empty)
	}
}

// A group is a bounded set of connections of one kind.
type group[T comparable] struct {
	what      string
	limit     limit
	members   map[T]struct{}
	perClient map[netip.Addr]int // no zeros, so that it is no larger than members
}

func newGroup[T comparable](what string, l limit) group[T] {
	return group[T]{what, l, make(map[T]struct{}), make(map[netip.Addr]int)}
}

func (g *group[T]) add(m T, client netip.Addr) error {
	switch {
	case len(g.members) >= g.limit.total:
		return &limitError{g.what, len(g.members), false}
	case g.perClient[client] >= g.limit.perClient:
		return &limitError{g.what, g.perClient[client], true}
	}
	g.members[m] = struct{}{}
	g.perClient[client]++
	return nil
}

// remove reports whether m was there until now.
func (g *group[T]) remove(m T, client netip.Addr) bool {
	if _, ok := g.members[m]; !ok {
		return false
	}
	delete(g.members, m)
	if g.perClient[client]--; g.perClient[client] == 0 {
		delete(g.perClient, client)
	}
	return true
}
