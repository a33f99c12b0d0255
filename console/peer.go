package console

import (
	"context"
	"net"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// peerKey is where the context of a connection's requests has its peer.
type peerKey struct{}

// withPeer notes who has connected, as the kernel saw it then (SO_PEERCRED, unix(7)).
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if limited, ok := conn.(*limitConn); ok {
		conn = limited.Conn
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *syscall.Ucred
	raw.Control(func(fd uintptr) {
		peer, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil || peer == nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, int(peer.Uid))
}

// peerOf returns the user who asks, where that is known.
func peerOf(ctx context.Context) (uid int, ok bool) {
	uid, ok = ctx.Value(peerKey{}).(int)
	return uid, ok
}

// mayChange reports whether a user may change what the box does: root, and who the box
// runs as. Its group may only look.
func mayChange(uid int) bool { return uid == 0 || uid == os.Geteuid() }

// userName is a user as records name him.
func userName(uid int) string {
	text := "uid " + strconv.Itoa(uid)
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username + ", " + text
	}
	return text
}
