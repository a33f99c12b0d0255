package proxy

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tillgate/internal/storelab"
)

// What comes with a SYN (TCP Fast Open, RFC 7413) is read and passed on even
// while the handshake goes on, when the kernel counts no bytes as readable.
func TestTunnelFastOpen(t *testing.T) {
	store := storelab.New(t, storelab.Config{})
	till := store.Terminal(t, "sunmi")
	run := func(h *storelab.Host, argv ...string) {
		t.Helper()
		if _, err := h.Run(t.Context(), argv...); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []*storelab.Host{till.Host, store.Box.Host} {
		// Client, server, and no cookies (ip-sysctl.rst: 1, 2, 4, 0x200, 0x400).
		run(h, "sh", "-c", "echo 1543 > /proc/sys/net/ipv4/tcp_fastopen")
	}
	// Of the terminal's packets only the SYN arrives.
	run(store.Box.Host, "nft", `
		table inet test {
			chain input {
				type filter hook input priority filter
				tcp dport 3129 tcp flags & (syn | ack) == ack drop
			}
		}`)
	l, err := store.Box.Listen(t.Context(), "tcp", ":3129")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	var terminal net.Conn
	err = till.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "")
		defer f.Close()
		box := &unix.SockaddrInet4{Port: 3129, Addr: till.Box4.As4()}
		if err := unix.Sendto(fd, []byte("with the SYN"), unix.MSG_FASTOPEN, box); err != nil {
			return err
		}
		terminal, err = net.FileConn(f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}

	r := newRig(t, "", time.Hour)
	r.tunnel.client.Close()
	client := accepted.(*net.TCPConn)
	ended := make(chan tunnelEnd, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- newTunnel(client, r.tunnel.server, nil, time.Hour).run(ctx) }()
	hear(t, r.server, "with the SYN")
	control(client, func(fd int) {
		const synReceived = 3 // TCP_SYN_RECV of linux/tcp_states.h
		info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
		if err != nil {
			t.Error(err)
		} else if info.State != synReceived {
			t.Errorf("in state %d the handshake is over, so this shows nothing", info.State)
		}
	})

	run(store.Box.Host, "nft", "delete table inet test")
	say(t, r.server, "answer")
	hear(t, terminal, "answer")
	say(t, terminal, "and on")
	hear(t, r.server, "and on")
	cancel()
	if end := <-ended; end.Up != 18 || end.Down != 6 {
		t.Errorf("%+v", end)
	}
}
