package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestResetTime(t *testing.T) {
	want := TimeReset{Level: "none", Now: time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)}
	var by string
	var broken error
	c, _ := serve(t, Config{ResetTime: func(_ context.Context, who string) (TimeReset, error) {
		by = who
		return want, broken
	}})
	got, err := c.ResetTime(t.Context())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("answered %v (-want +got):\n%s", err, diff)
	}
	if me := userName(os.Geteuid()); by != me {
		t.Errorf("reset by %q, want %q", by, me)
	}
	broken = errors.New("the disk is full")
	if _, err := c.ResetTime(t.Context()); errorText(err) != "the box refused: the disk is full" {
		t.Errorf("refused: %v", err)
	}
}

// Who may not change what the box does can't make it forget the time.
func TestResetTimeOthers(t *testing.T) {
	for name, tt := range map[string]struct {
		who    caller
		body   string
		status int
	}{
		"another user":     {asUser(os.Geteuid() + 1), "{}", 403},
		"nobody known":     {caller{}, "{}", 403},
		"something unread": {asUser(os.Geteuid()), `{"level": "fine"}`, 400},
	} {
		api := NewAPI(t.Context(), Config{
			ResetTime: func(context.Context, string) (TimeReset, error) {
				t.Errorf("%s: it was reset", name)
				return TimeReset{}, nil
			},
			Log: slog.New(slog.DiscardHandler),
		})
		r := httptest.NewRequestWithContext(withCaller(t.Context(), tt.who), "POST", "/v1/time/reset", strings.NewReader(tt.body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s: status %d, want %d", name, w.Code, tt.status)
		}
	}
}
