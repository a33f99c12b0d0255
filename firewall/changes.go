package firewall

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// watchTable sends on changed, which has room for one, whenever anybody has changed the
// box's table, until ctx ends. That may be us, too. Adding to a set from a rule is no change.
func watchTable(ctx context.Context, changed chan<- struct{}) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	for {
		messages, err := conn.Receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		if err == nil && !slices.ContainsFunc(messages, ofTable) { // what was lost may have been one
			continue
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// ofTable reports whether an event is of the box's table. The first attribute of all that
// are of a table, and of a table itself, is its name (linux/netfilter/nf_tables.h).
func ofTable(m netlink.Message) bool {
	if m.Header.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN || len(m.Data) < headerNetfilter {
		return false
	}
	d, err := netlink.NewAttributeDecoder(m.Data[headerNetfilter:])
	if err != nil {
		return false
	}
	for d.Next() {
		if d.Type() == unix.NFTA_TABLE_NAME {
			return d.String() == Table
		}
	}
	return false
}
