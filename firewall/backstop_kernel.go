package firewall

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrBackstop is a table that is in force, and a backstop that is not.
var ErrBackstop = errors.New("the rules of the routing policy beside the table are not in force")

// backHeader is the size of struct fib_rule_hdr (linux/fib_rules.h): the family, the
// lengths of destination and source, the TOS, the table, two bytes of nothing, the action,
// and flags.
const backHeader = 12

// A loadedRule is one of the kernel's that is marked as the backstop's.
type loadedRule struct {
	rule backRule
	ours bool   // of a shape that we make
	raw  []byte // by which it is deleted
}

// setBackstop has just these rules in the kernel, and reports whether there were others. The
// new ones are there before the old ones go.
func setBackstop(want []backRule) (changed bool, err error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrBackstop, err)
	}
	defer conn.Close()
	for _, f := range families {
		have, err := loadedBackstop(conn, f.is4)
		if err != nil {
			wanted := slices.ContainsFunc(want, func(r backRule) bool { return r.is4 == f.is4 })
			if noRouting(err) && (!wanted || !f.is4 && noIPv6()) {
				continue
			}
			if noRouting(err) {
				err = fmt.Errorf("%w; the kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES, CONFIG_IPV6_MULTIPLE_TABLES): have it not forward, so that nothing gets out when nft's rules are flushed", err)
			}
			return changed, fmt.Errorf("%w: %s: %w", ErrBackstop, f.title, err)
		}
		add, remove := backChange(have, want, f.is4)
		changed = changed || len(add)+len(remove) > 0
		for _, r := range add {
			flags := netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl
			if err := tellRule(conn, unix.RTM_NEWRULE, flags, r.encode()); err != nil && !errors.Is(err, fs.ErrExist) {
				return changed, fmt.Errorf("%w: %v: %w", ErrBackstop, r, err)
			}
		}
		for _, l := range remove {
			if err := tellRule(conn, unix.RTM_DELRULE, netlink.Request|netlink.Acknowledge, l.raw); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return changed, fmt.Errorf("%w: deleting %v: %w", ErrBackstop, l.rule, err)
			}
		}
	}
	return changed, nil
}

// backChange says what to add and then what to remove of a family, one by one, so that those
// that have are those wanted. What both stop is stopped at each step.
func backChange(have []loadedRule, want []backRule, is4 bool) (add []backRule, remove []loadedRule) {
	kept := make(map[backRule]bool)
	for _, l := range have {
		if !l.ours || kept[l.rule] || !slices.Contains(want, l.rule) {
			remove = append(remove, l)
			continue
		}
		kept[l.rule] = true
	}
	for _, r := range want {
		if r.is4 == is4 && !kept[r] {
			add = append(add, r)
		}
	}
	// What stops is in force before what would let through in a later place, and is removed
	// after it. To where others skip is there first and last.
	place := func(r backRule) uint32 { return r.pref % prefEnd }
	slices.SortStableFunc(add, func(a, b backRule) int { return cmp.Compare(place(a), place(b)) })
	slices.SortStableFunc(remove, func(a, b loadedRule) int { return cmp.Compare(place(b.rule), place(a.rule)) })
	return add, remove
}

// noRouting is the answer of a kernel that has no rules of a family.
func noRouting(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)
}

// noIPv6 reports whether there is no IPv6 to be stopped.
func noIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return errors.Is(err, fs.ErrNotExist)
}

func tellRule(conn *netlink.Conn, kind netlink.HeaderType, flags netlink.HeaderFlags, data []byte) error {
	_, err := conn.Execute(netlink.Message{Header: netlink.Header{Type: kind, Flags: flags}, Data: data})
	return err
}

// readBackstop returns the rules of the backstop that are in the kernel, of both families.
func readBackstop() (rules []backRule, err error) {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for _, f := range families {
		list, err := loadedBackstop(conn, f.is4)
		if err != nil {
			if noRouting(err) {
				continue
			}
			return nil, fmt.Errorf("reading the rules of the routing policy: %s: %w", f.title, err)
		}
		for _, l := range list {
			if l.ours {
				rules = append(rules, l.rule)
			}
		}
	}
	return rules, nil
}

// HasBackstop reports whether rules of a backstop are in the kernel, whatever they are.
func HasBackstop() (bool, error) {
	rules, err := readBackstop()
	return len(rules) > 0, err
}

// backstopDiffers compares what is in the kernel with a text, see [Differs].
func backstopDiffers(text []byte) (missing, more []string, err error) {
	should, err := backstopOf(text)
	if err != nil {
		return nil, nil, err
	}
	is, err := readBackstop()
	if err != nil {
		return nil, nil, err
	}
	for _, r := range should {
		if !slices.Contains(is, r) {
			missing = append(missing, r.String())
		}
	}
	for _, r := range is {
		if !slices.Contains(should, r) {
			more = append(more, r.String())
		}
	}
	return missing, more, nil
}

// loadedBackstop are the rules of a family that have the backstop's mark.
func loadedBackstop(conn *netlink.Conn, is4 bool) (rules []loadedRule, err error) {
	list, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETRULE, Flags: netlink.Request | netlink.Dump},
		Data:   append([]byte{familyOf(is4)}, make([]byte, backHeader-1)...),
	})
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		if r, ours, ok := decodeRule(m.Data); ok {
			rules = append(rules, loadedRule{r, ours, m.Data})
		}
	}
	return rules, nil
}

// backActions are the kernel's numbers.
var backActions = map[backAction]byte{
	backStop: unix.FR_ACT_PROHIBIT, backSkip: unix.FR_ACT_GOTO,
	backPrivate: unix.FR_ACT_TO_TBL, backEnd: unix.FR_ACT_NOP,
}

func familyOf(is4 bool) byte {
	if is4 {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// encode is the rule as the kernel takes it.
func (r backRule) encode() []byte {
	e := netlink.NewAttributeEncoder()
	e.Uint32(unix.FRA_PRIORITY, r.pref)
	e.Uint8(unix.FRA_PROTOCOL, backProtocol)
	if r.in != "" {
		e.String(unix.FRA_IIFNAME, r.in)
	}
	length := func(attribute uint16, p netip.Prefix) byte {
		if !p.IsValid() {
			return 0
		}
		e.Bytes(attribute, p.Addr().AsSlice())
		return byte(p.Bits())
	}
	to, from := length(unix.FRA_DST, r.to), length(unix.FRA_SRC, r.from)
	f := r.fate()
	if f.target != 0 {
		e.Uint32(unix.FRA_GOTO, f.target)
	}
	e.Uint32(unix.FRA_SUPPRESS_PREFIXLEN, f.suppress)
	attributes, err := e.Encode()
	if err != nil {
		panic(err) // no attribute is longer than 64 KiB
	}
	header := []byte{familyOf(r.is4), to, from, 0, byte(f.table), 0, 0, backActions[r.action], 0, 0, 0, 0}
	return append(header, attributes...)
}

// decodeRule reads a rule of the kernel's; ok is whether it has the backstop's mark, and
// ours whether it is one that the backstop could have made.
func decodeRule(data []byte) (r backRule, ours, ok bool) {
	if len(data) < backHeader {
		return r, false, false
	}
	d, err := netlink.NewAttributeDecoder(data[backHeader:])
	if err != nil {
		return r, false, false
	}
	prefix := func(bits byte) netip.Prefix {
		a, _ := netip.AddrFromSlice(d.Bytes())
		return netip.PrefixFrom(a, int(bits))
	}
	r.is4 = data[0] == unix.AF_INET
	is := fate{table: uint32(data[4]), suppress: nothingSuppressed}
	var protocol uint8
	more := data[3] != 0 || binary.NativeEndian.Uint32(data[8:])&unix.FIB_RULE_INVERT != 0
	for d.Next() {
		switch d.Type() {
		case unix.FRA_PRIORITY:
			r.pref = d.Uint32()
		case unix.FRA_PROTOCOL:
			protocol = d.Uint8()
		case unix.FRA_IIFNAME:
			r.in = d.String()
		case unix.FRA_DST:
			r.to = prefix(data[1])
		case unix.FRA_SRC:
			r.from = prefix(data[2])
		case unix.FRA_GOTO:
			is.target = d.Uint32()
		case unix.FRA_TABLE:
			is.table = d.Uint32()
		case unix.FRA_SUPPRESS_PREFIXLEN:
			is.suppress = d.Uint32()
		case unix.FRA_SUPPRESS_IFGROUP, unix.FRA_FWMARK, unix.FRA_FWMASK, unix.FRA_OIFNAME, unix.FRA_FLOW, unix.FRA_TUN_ID,
			unix.FRA_UID_RANGE, unix.FRA_SPORT_RANGE, unix.FRA_DPORT_RANGE, unix.FRA_IP_PROTO, unix.FRA_L3MDEV:
			more = true
		}
	}
	for do, number := range backActions {
		if data[7] == number {
			r.action = do
		}
	}
	ours = !more && data[7] == backActions[r.action] && is == r.fate() && r.inPlace()
	return r, ours, d.Err() == nil && protocol == backProtocol
}

// A fate is what an action needs to be said of it.
type fate struct{ table, target, suppress uint32 }

const nothingSuppressed = ^uint32(0) // the kernel's word for it

func (r backRule) fate() fate {
	f := fate{suppress: nothingSuppressed}
	switch r.action {
	case backSkip:
		f.target = prefEnd
	case backPrivate:
		f.table, f.suppress = unix.RT_TABLE_MAIN, privateBits(r.is4)-1
	}
	return f
}
