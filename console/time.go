package console

import (
	"context"
	"net/http"
	"net/netip"
	"time"
)

// TimeStatus is what the box knows of the time, and whom it tells it.
type TimeStatus struct {
	Level   string       `json:"level"` // none, coarse, fine
	Now     time.Time    `json:"now"`
	ErrorMs float64      `json:"error_ms,omitzero"` // Now is no further off; absent where that is not known
	Servers []TimeServer `json:"servers"`
	Clients []TimeClient `json:"clients"` // whose own clock is known, the worst first

	Requests uint64 `json:"requests"` // since the start
	Answered uint64 `json:"answered"` // with the time
	NoTime   uint64 `json:"no_time"`  // answered that there is none
	Denied   uint64 `json:"denied"`   // by the policy, without an answer
	Dropped  uint64 `json:"dropped"`  // without an answer: too often, or no request for the time
}

// TimeServer is a server that the box asks.
type TimeServer struct {
	Name     string     `json:"name"`
	Addr     netip.Addr `json:"addr,omitzero"`
	State    string     `json:"state"`             // in a word
	OffsetMs float64    `json:"offset_ms"`         // its time against the box's
	ErrorMs  float64    `json:"error_ms,omitzero"` // how far that may be off
	Detail   string     `json:"detail,omitempty"`  // why it is not believed
}

// TimeClient is a client that has told what its own clock says.
type TimeClient struct {
	Client   netip.Addr `json:"client"`
	Class    string     `json:"class"`
	OffsetMs float64    `json:"offset_ms"` // its clock against the box's; negative: slow
	Seen     time.Time  `json:"seen"`
}

// TimeReset is how the forgetting of what was known of the time is told.
type TimeReset struct {
	Level string    `json:"level"` // after it
	Now   time.Time `json:"now"`
}

func (a *API) resetTime(w http.ResponseWriter, r *http.Request) {
	by, ok := change(w, r, &struct{}{})
	if !ok {
		return
	}
	reset, err := a.cfg.ResetTime(r.Context(), by)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	reply(w, reset)
}

// ResetTime makes the box forget what it knew of the time, on disk too, and find it out anew.
func (c *Client) ResetTime(ctx context.Context) (TimeReset, error) {
	return post[TimeReset](ctx, c, "/v1/time/reset", struct{}{})
}
