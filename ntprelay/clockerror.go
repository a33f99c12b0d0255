package ntprelay

import "time"

// Most clients send the time that their clocks show as their transmit timestamp. Some send
// none, or a random number, which is as good for telling answers apart (chrony, busybox;
// data minimisation, draft-ietf-ntp-data-minimization). clockError tells one from the
// other: a clock goes on as ours does, and most clocks are not a day wrong.
type clockError struct {
	offset   time.Duration // what the client sent less what it should, at its last request
	at       time.Duration // of that
	known    bool          // there was one
	credible bool
}

// nearby is how far a clock may be off to be believed at first sight. A random timestamp
// is that near once in 25,000 requests.
const nearby = 24 * time.Hour

// learn takes the offset of a request, and reports whether it is of a clock: it is if the
// client's clock was as much off before; or if it is nearby, and nothing that the client sent
// before speaks against it: clocks are set. A clock that starts in 1970 is believed at its
// second request.
func (e *clockError) learn(offset, now time.Duration) bool {
	// Cheap clocks lose some seconds a day.
	tolerance := time.Second + (now-e.at).Abs()/1000
	same := e.known && (offset-e.offset).Abs() <= tolerance
	e.credible = same || offset.Abs() <= nearby && (!e.known || e.credible)
	e.offset, e.at, e.known = offset, now, true
	return e.credible
}
