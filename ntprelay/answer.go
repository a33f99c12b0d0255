package ntprelay

import (
	"time"

	"tillgate/internal/clock"
)

// maxDispersion is that of a clock of which nothing is known (RFC 5905 §7.2, MAXDISP).
const maxDispersion = 16 * time.Second

// present is what is known of the time at one moment.
type present struct {
	e   *clock.Estimate
	raw time.Duration // the moment
	header
}

// present is what all answers that are given now have alike.
func (r *Relay) present() present {
	e, raw := r.deps.Clock.Estimate(), r.deps.Clock.Raw()
	p := present{e: e, raw: raw, header: header{precision: e.Precision}}
	if e.LevelAt(raw) != clock.Fine {
		// Stratum 16 is 0 on the wire (RFC 5905 §7.3), and with no reference ID it is no
		// kiss-o'-death. A client that looks at nothing of this may look at the dispersion.
		p.leap, p.rootDispersion = unknown, shortOf(maxDispersion)
		return p
	}
	p.leap = uint8(e.LeapAt(raw))
	p.stratum = e.Stratum
	p.rootDelay = shortOf(e.RootDelay())
	p.rootDispersion = shortOf(e.RootDispersion(raw))
	p.refID = e.RefID
	p.reference = stampOf(e.RefTime())
	return p
}

// fine reports whether it is enough to give the time.
func (p *present) fine() bool { return p.leap != unknown }

// reply returns the answer to a request, all but the transmit timestamp: that comes last.
func (p *present) reply(q *request) header {
	h := p.header
	h.version, h.mode = q.version, q.answerMode(q.from.Port())
	h.poll, h.origin = q.poll, q.transmit
	h.receive = stampOf(p.e.At(q.raw))
	return h
}

// answerLate answers a request that has waited.
func (r *Relay) answerLate(q *request) {
	p := r.present()
	r.answer(&p, q)
}

// answer answers a request by what is known of the time now, and records it. The answer goes
// with its batch, if there is one, else at once.
func (r *Relay) answer(p *present, q *request) {
	h := p.reply(q)
	if q.packet != nil {
		q.packet.Reply = q.packet.Reply[:headerSize]
		h.put(q.packet.Reply)
	} else {
		h.put(q.out[:])
		stampOf(p.e.At(r.deps.Clock.Raw())).put(q.out[:])
		if q.send(q.out[:], q.local, q.from, q.ifindex) != nil {
			r.stats.unsent.Add(1)
		}
	}
	r.noteAnswer(q, &h, p.raw-q.raw)
}
