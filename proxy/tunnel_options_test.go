package proxy

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Urgent data is no place to get stuck at: its byte is left out.
func TestTunnelUrgent(t *testing.T) {
	r := newRig(t, "", time.Hour).start(t)
	urgent := func(text string) {
		control(r.client, func(fd int) {
			if _, err := unix.SendmsgN(fd, []byte(text), nil, nil, unix.MSG_OOB); err != nil {
				t.Error(err)
			}
		})
	}
	say(t, r.client, "ab")
	urgent("!")
	say(t, r.client, "cd")
	hear(t, r.server, "abcd")
	urgent("!")
	urgent("ef!")
	hear(t, r.server, "ef")
	say(t, r.client, "gh")
	r.client.CloseWrite()
	hearAll(t, r.server, "gh", nil)
	r.server.Close()
	if got, want := r.wait(t), (tunnelEnd{Up: 8, By: byClient}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// The deadline of the hello is not the tunnel's.
func TestTunnelDeadline(t *testing.T) {
	r := newRig(t, "early", time.Hour)
	r.tunnel.client.SetDeadline(time.Now())
	r.start(t)
	hear(t, r.server, "early")
	say(t, r.client, "late")
	hear(t, r.server, "late")
	r.cancel(nil)
	if got, want := r.wait(t), (tunnelEnd{Up: 9, By: byStop}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Both connections of a tunnel keep alive, in the way of handhelds.
func TestKeepAlive(t *testing.T) {
	listeners, err := bind(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listeners[0].Close()
	dialled, err := dialTCP(t.Context(), listeners[0].Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	accepted, err := listeners[0].AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	for _, c := range []*net.TCPConn{accepted, dialled.(*net.TCPConn)} {
		control(c, func(fd int) {
			for _, o := range []struct{ level, option, want int }{
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{unix.SOL_TCP, unix.TCP_KEEPIDLE, 120},
				{unix.SOL_TCP, unix.TCP_KEEPINTVL, 120},
				{unix.SOL_TCP, unix.TCP_KEEPCNT, 3},
				{unix.SOL_TCP, unix.TCP_NODELAY, 1},
			} {
				if got, err := unix.GetsockoptInt(fd, o.level, o.option); err != nil || got != o.want {
					t.Errorf("%v: option %d is %d, %v, want %d", c.LocalAddr(), o.option, got, err, o.want)
				}
			}
		})
	}
}
