package console

import (
	"context"
	"fmt"
	"net/http"
	"os"
)

// A caller is who asks the API, as far as the transport knows. The zero value is nobody,
// who may look.
type caller struct {
	by     string // as records name him
	change bool   // may change what the box does
	hint   string // where he may not: what there is to do
	local  bool   // asks at the unix socket, so he is a process of this machine
}

// callerKey is where the context of a request has its caller.
type callerKey struct{}

func withCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// mayChange returns who asks, if he may change what the box does. If it is not true, the
// request has been refused.
func mayChange(w http.ResponseWriter, r *http.Request) (c caller, ok bool) {
	c = callerOf(r.Context())
	if !c.change {
		hint := c.hint
		if hint == "" {
			hint = fmt.Sprintf("only root and %s may do that; use sudo", userName(os.Geteuid()))
		}
		refuse(w, http.StatusForbidden, textError(hint))
	}
	return c, c.change
}

// mayManage is mayChange for what is no matter of the console on TCP, whoever is logged in
// there: what the box's own programs tell it, and the console's password.
func mayManage(w http.ResponseWriter, r *http.Request) bool {
	if c := callerOf(r.Context()); c.change && !c.local {
		refuse(w, http.StatusForbidden, textError("that is done on the box itself, with the tillgate command"))
		return false
	}
	_, ok := mayChange(w, r)
	return ok
}

// textError is an error whose text is made for who reads it.
type textError string

func (e textError) Error() string { return string(e) }
