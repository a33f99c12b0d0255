package firewall

import (
	"context"
	"errors"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// watchTables sends on changed, which has room for one, whenever anybody has changed the
// kernel's tables, until ctx ends. That may be us, too. Adding to a set from a rule is no
// change.
func watchTables(ctx context.Context, changed chan<- struct{}) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	for {
		_, err := conn.Receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // too much at once is a change, too
			return err
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}
