package firewall

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A watched is what of the kernel's is told of.
type watched struct {
	family int
	groups uint32
	of     func(netlink.Message) bool
}

var (
	watchedTable    = watched{unix.NETLINK_NETFILTER, 1 << (unix.NFNLGRP_NFTABLES - 1), ofTable}
	watchedBackstop = watched{unix.NETLINK_ROUTE, 1<<(unix.RTNLGRP_IPV4_RULE-1) | 1<<(unix.RTNLGRP_IPV6_RULE-1), ofBackstop}
)

// watch sends on changed, which has room for one, whenever anybody has changed it, until ctx
// ends. That may be us, too. Adding to a set from a rule is no change.
func (w watched) watch(ctx context.Context, changed chan<- struct{}) error {
	conn, err := netlink.Dial(w.family, &netlink.Config{Groups: w.groups})
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
		if err == nil && !slices.ContainsFunc(messages, w.of) { // what was lost may have been one
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

// ofBackstop reports whether an event is of a rule that is marked as the backstop's.
func ofBackstop(m netlink.Message) bool {
	_, _, ok := decodeRule(m.Data)
	return ok
}

// gone reports whether there is no table, without nft, which takes its time to start.
func gone() bool {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return false
	}
	defer conn.Close()
	e := netlink.NewAttributeEncoder()
	e.String(unix.NFTA_TABLE_NAME, Table)
	name, err := e.Encode()
	if err != nil {
		return false
	}
	_, err = conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETTABLE, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, name...),
	})
	return errors.Is(err, unix.ENOENT)
}
