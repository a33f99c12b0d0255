package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Of ctnetlink (linux/netfilter/nfnetlink_conntrack.h): messages, and the attributes of a
// connection.
const (
	ctSubsystem = 1 << 8
	ctGet       = ctSubsystem | 1
	ctDelete    = ctSubsystem | 2

	ctaTupleOrig = 1
	ctaStatus    = 3
	ctaID        = 12
	ctaZone      = 18

	ctaTupleIP = 1
	ctaSource4 = 1
	ctaDest4   = 2
	ctaSource6 = 3
	ctaDest6   = 4

	statusDNAT = 1 << 5 // IPS_DST_NAT

	genSize = 4 // of struct nfgenmsg
)

// Forget deletes the connections in the kernel's table that devices in networks began and
// that were not redirected to the box: a connection that is older than the rules would never
// be, whatever they say. Those with the box itself, whose addresses are local, stay. It
// returns how many it has deleted.
func Forget(networks []netip.Prefix, local []netip.Addr) (int, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, fmt.Errorf("opening the table of connections: %w", err)
	}
	defer c.Close()
	deleted := 0
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		list, err := c.Execute(ctMessage(ctGet, netlink.Request|netlink.Dump, family, nil))
		if err != nil {
			return deleted, fmt.Errorf("listing connections: %w", err)
		}
		for _, m := range list {
			f, err := parseFlow(m.Data)
			if err != nil {
				return deleted, fmt.Errorf("listing connections: %w", err)
			}
			if !f.around(networks, local) {
				continue
			}
			_, err = c.Execute(ctMessage(ctDelete, netlink.Request|netlink.Acknowledge, family, f.id))
			switch {
			case err == nil:
				deleted++
			case !errors.Is(err, os.ErrNotExist): // it has ended by itself
				return deleted, fmt.Errorf("deleting a connection of %v: %w", f.source, err)
			}
		}
	}
	return deleted, nil
}

func ctMessage(kind uint16, flags netlink.HeaderFlags, family byte, attributes []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: flags},
		Data:   append([]byte{family, 0, 0, 0}, attributes...),
	}
}

// A flow is a connection of the kernel's table.
type flow struct {
	source, dest netip.Addr // as it was begun
	redirected   bool       // its destination was translated
	id           []byte     // the attributes that name it
}

// around reports whether the flow goes by the box's redirect.
func (f flow) around(networks []netip.Prefix, local []netip.Addr) bool {
	in := func(p netip.Prefix) bool { return p.Contains(f.source) }
	return !f.redirected && slices.ContainsFunc(networks, in) &&
		!slices.Contains(local, f.source) && !slices.Contains(local, f.dest)
}

// parseFlow reads a message of the kernel's.
func parseFlow(data []byte) (f flow, err error) {
	if len(data) < genSize {
		return f, errors.New("a message without its head")
	}
	d, err := netlink.NewAttributeDecoder(data[genSize:])
	if err != nil {
		return f, err
	}
	e := netlink.NewAttributeEncoder()
	for d.Next() {
		switch d.Type() {
		case ctaTupleOrig:
			e.Bytes(netlink.Nested|ctaTupleOrig, d.Bytes())
			d.Nested(f.parseTuple)
		case ctaStatus:
			if b := d.Bytes(); len(b) == 4 {
				f.redirected = binary.BigEndian.Uint32(b)&statusDNAT != 0
			}
		case ctaID:
			e.Bytes(ctaID, d.Bytes())
		case ctaZone:
			e.Bytes(ctaZone, d.Bytes())
		}
	}
	if err := d.Err(); err != nil {
		return f, err
	}
	f.id, err = e.Encode()
	return f, err
}

func (f *flow) parseTuple(d *netlink.AttributeDecoder) error {
	for d.Next() {
		if d.Type() == ctaTupleIP {
			d.Nested(f.parseAddresses)
		}
	}
	return nil
}

func (f *flow) parseAddresses(d *netlink.AttributeDecoder) error {
	for d.Next() {
		addr, _ := netip.AddrFromSlice(d.Bytes()) // what has another length is no address
		switch d.Type() {
		case ctaSource4, ctaSource6:
			f.source = addr
		case ctaDest4, ctaDest6:
			f.dest = addr
		}
	}
	return nil
}
