package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/policy"
)

func TestObserve(t *testing.T) {
	since := time.Date(2026, 11, 22, 7, 0, 0, 0, time.FixedZone("CET", 3600))
	var asked policy.ObserveRequest
	c, _ := serve(t, Config{Observe: func(_ context.Context, r policy.ObserveRequest) (policy.Observation, error) {
		asked = r
		if r.Class == "gone" {
			return policy.Observation{}, errors.New("the policy has no such class")
		}
		return policy.Observation{Class: r.Class, Reason: r.Reason, By: r.By, Since: since, Until: since.Add(r.For)}, nil
	}})
	got, err := c.Observe(t.Context(), Observe{Class: "pos", For: "1h30m0s", Reason: "till 4 cannot pay"})
	if err != nil {
		t.Fatal(err)
	}
	me := userName(os.Geteuid())
	if !strings.HasSuffix(me, "uid "+strconv.Itoa(os.Geteuid())) {
		t.Errorf("this user is %s", me)
	}
	if diff := cmp.Diff(policy.ObserveRequest{Class: "pos", For: 90 * time.Minute, Reason: "till 4 cannot pay", By: me}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	want := Observation{Class: "pos", Since: since.UTC(), Until: since.Add(90 * time.Minute).UTC(), Reason: "till 4 cannot pay", By: me}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answered (-want +got):\n%s", diff)
	}
	if _, err := c.Observe(t.Context(), Observe{Class: "gone", For: "0s"}); errorText(err) != "the box refused: the policy has no such class" {
		t.Errorf("refused: %v", err)
	}
	if _, err := c.Observe(t.Context(), Observe{Class: "pos", For: "2"}); errorText(err) != `the box refused: for "2" is not a duration, as 2h is` {
		t.Errorf("refused: %v", err)
	}
}

// Only an object of JSON, from somebody who may, changes anything.
func TestObserveRequests(t *testing.T) {
	const good = `{"class": "pos", "for": "2h", "reason": "a test"}`
	me := os.Geteuid()
	for _, tt := range []struct {
		name   string
		who    caller
		kind   string
		method string
		body   string
		status int
	}{
		{"as it should be", asUser(me), "application/json", "POST", good, 200},
		{"with a charset", asUser(me), "application/json; charset=utf-8", "POST", good, 200},
		{"root", asUser(0), "application/json", "POST", good, 200},
		{"who is logged in", caller{by: "console", change: true}, "application/json", "POST", good, 200},
		{"another user", asUser(me + 1), "application/json", "POST", good, 403},
		{"nobody known", caller{}, "application/json", "POST", good, 403},
		{"a form", asUser(me), "application/x-www-form-urlencoded", "POST", good, 415},
		{"no type", asUser(me), "", "POST", good, 415},
		{"by GET", asUser(me), "application/json", "GET", good, 405},
		{"no JSON", asUser(me), "application/json", "POST", "class=pos", 400},
		{"an unknown key", asUser(me), "application/json", "POST", `{"class": "pos", "for": "2h", "until": "now"}`, 400},
		{"two objects", asUser(me), "application/json", "POST", good + good, 400},
		{"too long", asUser(me), "application/json", "POST", `{"class": "` + strings.Repeat("x", maxBody) + `"}`, 400},
	} {
		called := false
		api := NewAPI(t.Context(), Config{
			Observe: func(_ context.Context, r policy.ObserveRequest) (policy.Observation, error) {
				called = true
				return policy.Observation{}, nil
			},
			Log: slog.New(slog.DiscardHandler),
		})
		r := httptest.NewRequestWithContext(withCaller(t.Context(), tt.who), tt.method, "/v1/observe", strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.kind)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code != tt.status || called != (tt.status == http.StatusOK) {
			t.Errorf("%s: status %d, done %v; want %d\n%s", tt.name, w.Code, called, tt.status, w.Body)
		}
	}
}
