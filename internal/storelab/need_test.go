package storelab

import (
	"fmt"
	"testing"
)

// told is a TB that notes what becomes of the test.
type told struct {
	TB
	what string
}

func (t *told) Helper()                      {}
func (t *told) Skipf(s string, args ...any)  { t.what += "skip: " + fmt.Sprintf(s, args...) }
func (t *told) Fatalf(s string, args ...any) { panic("fatal: " + fmt.Sprintf(s, args...)) }

func (t *told) need(programs ...string) string {
	defer func() {
		if p := recover(); p != nil {
			t.what = p.(string)
		}
	}()
	Need(t, programs...)
	return t.what
}

func TestNeed(t *testing.T) {
	for _, tt := range []struct {
		e2e, program, want string
	}{
		{"", "sh", ""},
		{"required", "sh", ""},
		{"", "no-such-program", "skip: no-such-program is not installed"},
		{"required", "no-such-program", "fatal: no-such-program is not installed, and TILLGATE_E2E=required"},
	} {
		t.Setenv("TILLGATE_E2E", tt.e2e)
		test := new(told)
		test.need(tt.program)
		if test.what != tt.want {
			t.Errorf("with TILLGATE_E2E=%s, a test that needs %s: %q, want %q", tt.e2e, tt.program, test.what, tt.want)
		}
	}
}
