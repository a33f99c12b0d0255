package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"tillgate/policy"
)

// Observe asks for a class to be let through for a while.
type Observe struct {
	Class  string `json:"class"`
	For    string `json:"for"` // as [time.Duration] writes it; 0s ends it
	Reason string `json:"reason,omitempty"`
}

// Observation is a class that is let through for a while, or was.
type Observation struct {
	Class  string    `json:"class"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
	By     string    `json:"by"` // who asked for it
}

// DescribeObservation returns what there is to say of an observation.
func DescribeObservation(o policy.Observation) Observation {
	return Observation{Class: o.Class, Since: o.Since.UTC(), Until: o.Until.UTC(), Reason: o.Reason, By: o.By}
}

// maxBody bounds what is sent to the API, in bytes.
const maxBody = 4 << 10

func (a *API) observe(w http.ResponseWriter, r *http.Request) {
	var body Observe
	by, ok := change(w, r, &body)
	if !ok {
		return
	}
	d, err := time.ParseDuration(body.For)
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("for %q is not a duration, as 2h is", body.For))
		return
	}
	o, err := a.cfg.Observe(r.Context(), policy.ObserveRequest{Class: body.Class, For: d, Reason: body.Reason, By: by})
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err)
		return
	}
	reply(w, DescribeObservation(o))
}

// change reads what is to be changed into body, and tells who asks for it. If it is not
// true, the request has been refused.
func change(w http.ResponseWriter, r *http.Request, body any) (by string, ok bool) {
	c, ok := mayChange(w, r)
	if !ok {
		return "", false
	}
	if status, err := readBody(w, r, body); err != nil {
		refuse(w, status, err)
		return "", false
	}
	return c.by, true
}

// readBody reads one JSON object. That it must be called so keeps web pages of others
// from sending it (a form cannot).
func readBody(w http.ResponseWriter, r *http.Request, v any) (status int, err error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return http.StatusUnsupportedMediaType, errors.New("the Content-Type must be application/json")
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return http.StatusBadRequest, fmt.Errorf("reading the request: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return http.StatusBadRequest, errors.New("reading the request: more than one object")
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{}) // that of the body; what is asked for may be a stream
	return 0, nil
}

// Observe asks for a class to be let through for a while, or for the end of that, and
// returns what began or ended.
func (c *Client) Observe(ctx context.Context, o Observe) (Observation, error) {
	return post[Observation](ctx, c, "/v1/observe", o)
}
