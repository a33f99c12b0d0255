package ntprelay

import (
	"time"

	"tillgate/internal/clock"
)

// maxDispersion is that of a clock of which nothing is known (RFC 5905 §7.2, MAXDISP).
const maxDispersion = 16 * time.Second

// reply returns the answer to a request by an estimate, all but the transmit timestamp: that
// comes last. raw is now.
func reply(q *request, e *clock.Estimate, raw time.Duration) header {
	h := header{
		version:   q.version,
		mode:      q.answerMode(q.from.Port()),
		poll:      q.poll,
		precision: e.Precision,
		origin:    q.transmit,
		receive:   stampOf(e.At(q.raw)),
	}
	if e.LevelAt(raw) != clock.Fine {
		// Stratum 16 is 0 on the wire (RFC 5905 §7.3), and with no reference ID it is no
		// kiss-o'-death. A client that looks at nothing of this may look at the dispersion.
		h.leap, h.rootDispersion = unknown, shortOf(maxDispersion)
		return h
	}
	h.leap = uint8(e.LeapAt(raw))
	h.stratum = e.Stratum
	h.rootDelay = shortOf(e.RootDelay())
	h.rootDispersion = shortOf(e.RootDispersion(raw))
	h.refID = e.RefID
	h.reference = stampOf(e.RefTime())
	return h
}

// answer answers a request now, by what the clock has, and records it.
func (r *Relay) answer(q *request) {
	e, raw := r.deps.Clock.Estimate(), r.deps.Clock.Raw()
	h := reply(q, e, raw)
	h.put(q.out[:])
	// Nothing but the sending comes between this stamp and the wire.
	stampOf(e.At(r.deps.Clock.Raw())).put(q.out[:])
	if q.send(q.out[:], q.local, q.from, q.ifindex) != nil {
		r.stats.unsent.Add(1)
	}
	r.noteAnswer(q, &h, raw-q.raw)
}
