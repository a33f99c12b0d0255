package console

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tillgate/internal/check"
)

// checkLines are what a client is told: the kinds of lines, then the error.
func checkLines(c *Client, req check.Request) (kinds []string) {
	for line, err := range c.Check(context.Background(), req) {
		switch {
		case err != nil:
			kinds = append(kinds, err.Error())
		case line.Plan != nil:
			kinds = append(kinds, "plan "+line.Plan.Class)
		case line.Result != nil:
			kinds = append(kinds, "result "+line.Result.Target.String())
		case line.Verdict != nil:
			kinds = append(kinds, "verdict "+line.Verdict.Headline)
		}
	}
	return kinds
}

func TestCheck(t *testing.T) {
	var asked check.Request
	c, _ := serve(t, Config{Check: func(_ context.Context, req check.Request, emit func(check.Line) error) error {
		asked = req
		switch req.Class {
		case "gone":
			return errors.New("there is no such class")
		case "cut":
			emit(check.Line{Plan: &check.Plan{}})
			return errors.New("it was cut")
		}
		return errors.Join(
			emit(check.Line{Plan: &check.Plan{Class: req.Class}}),
			emit(check.Line{Result: &check.Result{Target: check.Target{Host: "a.test", Port: 443}}}),
			emit(check.Line{Verdict: &check.Verdict{Headline: "All is well."}}),
		)
	}})
	req := check.Request{Class: "pos", Via: netip.MustParseAddr("10.20.0.1"), Speed: "https://a.test/"}
	if diff := cmp.Diff([]string{"plan pos", "result a.test:443", "verdict All is well."}, checkLines(c, req)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(req, asked, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"the box refused: there is no such class"}, checkLines(c, check.Request{Class: "gone"})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"plan ", "the test was cut short: it was cut"}, checkLines(c, check.Request{Class: "cut"})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestCheckBound has as many tests as there may be; another is refused, and those under way
// end with the box.
func TestCheckBound(t *testing.T) {
	begun := make(chan struct{})
	c, stop := serve(t, Config{Check: func(ctx context.Context, _ check.Request, emit func(check.Line) error) error {
		emit(check.Line{Plan: &check.Plan{}})
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}})
	ended := make(chan []string)
	for range maxChecks {
		go func() { ended <- checkLines(c, check.Request{}) }()
		<-begun
	}
	if got := checkLines(c, check.Request{}); len(got) != 1 || !strings.Contains(got[0], "2 tests are under way already") {
		t.Errorf("one too many: %q", got)
	}
	stop()
	for range maxChecks {
		if diff := cmp.Diff([]string{"plan ", "the test was cut short: the box stops"}, <-ended); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// TestCheckWho lets who only looks have the policy's destinations tested, and the box go
// nowhere else; one at a time.
func TestCheckWho(t *testing.T) {
	ran, begun, end := 0, make(chan struct{}), make(chan struct{})
	api := NewAPI(t.Context(), Config{Check: func(_ context.Context, req check.Request, _ func(check.Line) error) error {
		ran++
		if req.Class == "slow" {
			close(begun)
			<-end
		}
		return nil
	}})
	ask := func(who caller, body string) int {
		r := httptest.NewRequest(http.MethodPost, "/v1/check", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r.WithContext(withCaller(r.Context(), who)))
		return w.Code
	}
	looks, user, group := caller{hint: hintLook}, caller{by: "console", change: true}, caller{by: "the group", local: true}
	for _, tt := range []struct {
		who  caller
		body string
		want int
	}{
		{looks, `{}`, http.StatusOK},
		{looks, `{"class": "pos"}`, http.StatusOK},
		{looks, `{"via": "10.0.0.1"}`, http.StatusForbidden},
		{looks, `{"speed": "https://a.test/"}`, http.StatusForbidden},
		{user, `{"via": "10.0.0.1", "speed": "https://a.test/"}`, http.StatusOK},
		{group, `{"via": "10.0.0.1", "speed": "https://a.test/"}`, http.StatusOK},
	} {
		before := ran
		if got := ask(tt.who, tt.body); got != tt.want || (ran > before) != (got == http.StatusOK) {
			t.Errorf("%+v: %s: status %d, want %d; ran %d times", tt.who, tt.body, got, tt.want, ran-before)
		}
	}
	done := make(chan int)
	go func() { done <- ask(looks, `{"class": "slow"}`) }()
	<-begun
	if got := ask(looks, `{}`); got != http.StatusServiceUnavailable {
		t.Errorf("a second of who looks: status %d", got)
	}
	if got := ask(user, `{}`); got != http.StatusOK {
		t.Errorf("another's meanwhile: status %d", got)
	}
	close(end)
	if got := <-done; got != http.StatusOK {
		t.Errorf("the first: status %d", got)
	}
	if got := ask(looks, `{}`); got != http.StatusOK {
		t.Errorf("after it: status %d", got)
	}
}
