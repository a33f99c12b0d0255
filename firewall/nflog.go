package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The kernel's interface, linux/netfilter/nfnetlink_log.h. All numbers in attributes are
// in network byte order.
const (
	subsysLog = 4 // NFNL_SUBSYS_ULOG

	msgLogPacket = subsysLog << 8   // NFULNL_MSG_PACKET
	msgLogConfig = subsysLog<<8 | 1 // NFULNL_MSG_CONFIG

	attrConfigCommand   = 1 // NFULA_CFG_CMD: one byte
	attrConfigMode      = 2 // NFULA_CFG_MODE: copy range in 4 bytes, copy mode, padding
	attrConfigThreshold = 5 // NFULA_CFG_QTHRESH: packets that wait for each other

	commandBind = 1 // NFULNL_CFG_CMD_BIND
	copyPacket  = 2 // NFULNL_COPY_PACKET

	attrLogInterface = 4  // NFULA_IFINDEX_INDEV
	attrLogPayload   = 9  // NFULA_PAYLOAD
	attrLogPrefix    = 10 // NFULA_PREFIX: text that ends with a zero

	headerNetfilter = 4 // struct nfgenmsg: family, version, 16 bits of a resource
)

const (
	// copyRange is how many bytes of a packet are looked at: its header and those that
	// extend it.
	copyRange = 256
	// logBuffer is the kernel's memory for what waits to be read. The rules log first
	// sights alone, at a bounded rate, and what is lost here is in the sets' counters.
	logBuffer = 1 << 20
	// maxLogMessage bounds one message that is read.
	maxLogMessage = 4 << 10
	// maxPrefix is the kernel's own bound of a prefix (NF_LOG_PREFIXLEN).
	maxPrefix = 128
)

// A sight is one packet that the rules logged.
type sight struct {
	prefix  string
	index   uint32 // of the interface that it came in by; 0: not told
	attempt attempt
}

// errLost is some packets that the kernel could not keep for the reader.
var errLost = errors.New("the kernel had no room for all logged packets")

// A packetLog reads one NFLOG group.
type packetLog struct{ conn *netlink.Conn }

// openLog binds a group, which one reader can have. It takes CAP_NET_ADMIN.
func openLog(group uint16) (*packetLog, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: maxLogMessage})
	if err != nil {
		return nil, err
	}
	l := &packetLog{conn}
	// The default would do where the kernel does not give more (net.core.rmem_max).
	conn.SetReadBuffer(logBuffer)
	mode := binary.BigEndian.AppendUint32(nil, copyRange)
	for _, attr := range []netlink.Attribute{
		{Type: attrConfigCommand, Data: []byte{commandBind}},
		{Type: attrConfigMode, Data: append(mode, copyPacket, 0)},
		// Each by itself: a log that is followed shows an attempt as it happens. And a batch
		// would end in a message of which the kernel leaves bytes unset.
		{Type: attrConfigThreshold, Data: binary.BigEndian.AppendUint32(nil, 1)},
	} {
		if err := l.configure(group, attr); err != nil {
			conn.Close()
			if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EPERM) && attr.Type != attrConfigCommand {
				err = fmt.Errorf("another program reads NFLOG group %d: %w", group, err)
			}
			return nil, err
		}
	}
	return l, nil
}

func (l *packetLog) configure(group uint16, attr netlink.Attribute) error {
	data := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, group)
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{attr})
	if err != nil {
		return err
	}
	_, err = l.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: msgLogConfig, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(data, attrs...),
	})
	return err
}

// receive waits for packets and hands them to see. It returns [errLost] when some were
// lost before these, after which it may be called again. Another error is the end.
func (l *packetLog) receive(see func(sight)) error {
	messages, err := l.conn.Receive()
	if errors.Is(err, unix.ENOBUFS) {
		return errLost
	}
	if err != nil {
		return err
	}
	for _, m := range messages {
		if s, ok := parseSight(m); ok {
			see(s)
		}
	}
	return nil
}

// interrupt ends a receive that waits, and all further ones.
func (l *packetLog) interrupt() { l.conn.SetReadDeadline(time.Unix(1, 0)) }

func (l *packetLog) close() { l.conn.Close() }

// parseSight reads a message of the log. What is no packet, or not one that is
// understood, is not ok: it is in the sets' counters all the same.
func parseSight(m netlink.Message) (s sight, ok bool) {
	if m.Header.Type != msgLogPacket || len(m.Data) < headerNetfilter {
		return s, false
	}
	d, err := netlink.NewAttributeDecoder(m.Data[headerNetfilter:])
	if err != nil {
		return s, false
	}
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		switch d.Type() {
		case attrLogInterface:
			s.index = d.Uint32()
		case attrLogPrefix:
			s.prefix = textOf(d.Bytes(), maxPrefix)
		case attrLogPayload:
			s.attempt, err = parsePacket(d.Bytes())
			ok = err == nil
		}
	}
	return s, ok && d.Err() == nil
}

// textOf is a C string of bounded length.
func textOf(b []byte, limit int) string {
	text, _, _ := strings.Cut(string(b[:min(len(b), limit)]), "\x00")
	return text
}
