package firewall

import (
	"encoding/binary"
	"errors"
	"iter"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	msgGetElements = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETSETELEM
	msgTakeObjects = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETOBJ_RESET
)

// An element is one of a set, with its counter. Of a concatenation the parts of the key
// begin at multiples of four bytes.
type element struct {
	key     []byte
	packets uint64
}

// readSet reads a set of the table and hands its elements to see. A table or set that is
// not there has none.
func readSet(conn *netlink.Conn, set string, see func(element)) error {
	e := netlink.NewAttributeEncoder()
	e.String(unix.NFTA_SET_ELEM_LIST_TABLE, Table)
	e.String(unix.NFTA_SET_ELEM_LIST_SET, set)
	return dump(conn, msgGetElements, e, func(b []byte) {
		for e := range elements(b) {
			see(e)
		}
	})
}

// takeCounters reads the table's named counters, and has them begin at zero.
func takeCounters(conn *netlink.Conn, see func(name string, packets uint64)) error {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.String(unix.NFTA_OBJ_TABLE, Table)
	e.Uint32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER)
	return dump(conn, msgTakeObjects, e, func(b []byte) {
		if name, packets, ok := parseCounter(b); ok {
			see(name, packets)
		}
	})
}

// dump asks for all of a kind and hands each message's attributes to see.
func dump(conn *netlink.Conn, kind netlink.HeaderType, question *netlink.AttributeEncoder, see func([]byte)) error {
	attrs, err := question.Encode()
	if err != nil {
		return err
	}
	request := netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Dump},
		Data:   append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, attrs...),
	}
	if _, err := conn.Send(request); err != nil {
		return err
	}
	for m, err := range conn.ReceiveIter() {
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(m.Data) >= headerNetfilter {
			see(m.Data[headerNetfilter:])
		}
	}
	return nil
}

// parseCounter reads a named counter.
func parseCounter(b []byte) (name string, packets uint64, ok bool) {
	d, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return "", 0, false
	}
	table := ""
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_OBJ_TABLE:
			table = d.String()
		case unix.NFTA_OBJ_NAME:
			name = d.String()
		case unix.NFTA_OBJ_DATA:
			d.Nested(func(d *netlink.AttributeDecoder) error {
				packets = packetsOf(d)
				return nil
			})
		}
	}
	return name, packets, d.Err() == nil && table == Table
}

// packetsOf reads what a counter has counted.
func packetsOf(d *netlink.AttributeDecoder) (packets uint64) {
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		if d.Type() == unix.NFTA_COUNTER_PACKETS {
			packets = d.Uint64()
		}
	}
	return packets
}

// elements are those of one message of a dump. What breaks the form is the end.
func elements(b []byte) iter.Seq[element] {
	return func(yield func(element) bool) {
		d, err := netlink.NewAttributeDecoder(b)
		if err != nil {
			return
		}
		for d.Next() {
			if d.Type() != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				continue
			}
			d.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					e := element{}
					list.Nested(e.decode)
					if list.Err() == nil && len(e.key) > 0 && !yield(e) {
						return errStop
					}
				}
				return list.Err()
			})
		}
	}
}

var errStop = errors.New("no more are wanted")

func (e *element) decode(d *netlink.AttributeDecoder) error {
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_SET_ELEM_KEY:
			d.Nested(func(d *netlink.AttributeDecoder) error {
				for d.Next() {
					if d.Type() == unix.NFTA_DATA_VALUE {
						e.key = d.Bytes()
					}
				}
				return nil
			})
		case unix.NFTA_SET_ELEM_EXPR:
			d.Nested(e.decodeCounter)
		}
	}
	return nil
}

func (e *element) decodeCounter(d *netlink.AttributeDecoder) error {
	isCounter := false
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_EXPR_NAME:
			isCounter = textOf(d.Bytes(), len("counter")) == "counter"
		case unix.NFTA_EXPR_DATA:
			if !isCounter { // the name comes first
				continue
			}
			d.Nested(func(d *netlink.AttributeDecoder) error {
				e.packets = packetsOf(d)
				return nil
			})
		}
	}
	return nil
}
