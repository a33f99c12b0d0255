package proxy

import (
	"sync"
	"time"

	"tillgate/decision"
)

// troubleTime is how long after it was last reported a trouble counts as one.
const troubleTime = time.Minute

// trouble is what keeps the proxy from serving everybody. The zero value is none.
type trouble struct {
	mu          sync.Mutex
	text        string
	since, last time.Time
}

// report says that there is one.
func (t *trouble) report(text string) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text != text || now.Sub(t.last) >= troubleTime {
		t.since = now
	}
	t.text, t.last = text, now
}

// reportLimit says that the box is full. What one client has too much of is no matter of
// the box.
func (p *Proxy) reportLimit(e *limitError) {
	if !e.client {
		p.trouble.report("new connections are refused: " + e.Error() + "; tillgate log --denied tells whose; raise proxy.tunnels if they are meant to be so many")
	}
}

// Health says whether connections were refused within the last minute for want of room.
func (p *Proxy) Health() decision.Health {
	h := decision.Health{Part: "proxy"}
	t := &p.trouble
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.last.IsZero():
	case time.Since(t.last) < troubleTime:
		h.State, h.Text, h.Since = decision.Warn, t.text, t.since
	default:
		h.Since = t.last.Add(troubleTime)
	}
	return h
}
