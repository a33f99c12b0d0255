package console

import (
	"context"
	"net"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

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
	return withCaller(ctx, asUser(int(peer.Uid)))
}

// asUser is a caller at the socket. Root may change what the box does, and who
// the box runs as. Its group may only look.
func asUser(uid int) caller {
	return caller{by: userName(uid), change: uid == 0 || uid == os.Geteuid(), local: true}
}

// userName is a user as records name him.
func userName(uid int) string {
	text := "uid " + strconv.Itoa(uid)
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username + ", " + text
	}
	return text
}
