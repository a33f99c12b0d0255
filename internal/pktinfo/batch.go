package pktinfo

import (
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Packet is one that a [Batch] has read, and what is answered to it.
type Packet struct {
	Data []byte
	Cut  bool           // it was longer than there is room for, and this is its beginning
	From netip.AddrPort // without a zone: that of a link-local address is Info.Interface
	Info Info
	// Reply is empty, with room. What is appended to it, or put in its place, is the
	// answer.
	Reply []byte
}

// Batch reads packets of a UDP socket and answers them, many with one system call
// (recvmmsg(2), sendmmsg(2)). It allocates nothing for a packet. It is for one goroutine.
//
// The calls don't block (MSG_DONTWAIT), so they are made without telling Go's scheduler:
// else it wakes another thread to take over from one that may be gone for long. At the
// rates of a store that, and not the answers, is what a server in Go costs: two futex and
// two nanosleep for a query.
type Batch struct {
	raw     syscall.RawConn
	handle  func([]Packet)
	receive func(fd uintptr) bool
	fd      uintptr // while packets are being handled
	sourced bool    // answers must be told where they come from
	slots   []slot
	packets []Packet
	in, out []mmsghdr
	got     int // packets in the slots
	err     error
}

// slot is the memory of one packet that the kernel reads and writes.
type slot struct {
	name     unix.RawSockaddrInet6 // or RawSockaddrInet4, which is shorter
	data     []byte
	dataVec  unix.Iovec
	oob      []byte
	reply    []byte
	replyVec unix.Iovec
	source   source
}

// mmsghdr is the kernel's struct of that name.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32 // that was received
}

// NewBatch makes batches of up to packets packets of conn, of up to size bytes each, with
// room for as many replies of up to reply bytes.
func NewBatch(conn *net.UDPConn, packets, size, reply int) (*Batch, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &Batch{
		raw:     raw,
		sourced: conn.LocalAddr().(*net.UDPAddr).IP.IsUnspecified(),
		slots:   make([]slot, packets),
		packets: make([]Packet, packets),
		in:      make([]mmsghdr, packets),
		out:     make([]mmsghdr, packets),
		got:     packets, // so all are made ready
	}
	for i := range b.slots {
		s := &b.slots[i]
		s.data, s.oob, s.reply, s.source = make([]byte, size), make([]byte, Size), make([]byte, 0, reply), newSource()
		s.dataVec.Base = &s.data[0]
		s.dataVec.SetLen(size)
		h := &b.in[i].hdr
		h.Name, h.Iov, h.Control = (*byte)(unsafe.Pointer(&s.name)), &s.dataVec, &s.oob[0]
		h.SetIovlen(1)
	}
	b.receive = b.recvmmsg
	return b, nil
}

// Serve has handle answer packets as they come, all that are there at once up to the
// batch's size, until the read deadline of the connection ([os.ErrDeadlineExceeded]) or an
// error. The packets are handle's until it returns; it calls [Batch.Send].
func (b *Batch) Serve(handle func([]Packet)) error {
	b.handle, b.err = handle, nil
	for b.err == nil {
		if err := b.raw.Read(b.receive); err != nil {
			return err
		}
	}
	return b.err
}

// recvmmsg receives once and reports false if nothing is left. Then the runtime's poller
// waits, and it is called again; what comes in between wakes the poller at once. So it need
// not be tried in vain before, which is a fifth of the system calls where packets come one by
// one. It reports true when there may be more: then Serve looks at the deadline, as the poller
// does, and calls it again.
func (b *Batch) recvmmsg(fd uintptr) (more bool) {
	for i := range b.got { // what the kernel has written over
		b.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
		b.in[i].hdr.SetControllen(Size)
	}
	b.got = 0
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in[0])), uintptr(len(b.in)), unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
	case unix.EAGAIN:
		return false
	case unix.EINTR:
		return true
	default:
		b.err = errno
		return true
	}
	b.got, b.fd = int(n), fd
	for i := range b.got {
		b.packets[i] = b.slots[i].packet(&b.in[i])
	}
	b.handle(b.packets[:b.got])
	return b.got == len(b.in)
}

// packet is what was received.
func (s *slot) packet(m *mmsghdr) Packet {
	return Packet{
		Data:  s.data[:m.len],
		Cut:   m.hdr.Flags&unix.MSG_TRUNC != 0,
		From:  s.from(),
		Info:  Read(s.oob[:m.hdr.Controllen]),
		Reply: s.reply,
	}
}

// from is the sender's address and port. The port is in the order of the network.
func (s *slot) from() netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&s.name.Port))
	addr := netip.AddrFrom16(s.name.Addr)
	if s.name.Family == unix.AF_INET {
		addr = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&s.name)).Addr)
	}
	return netip.AddrPortFrom(addr, uint16(port[0])<<8|uint16(port[1]))
}

// Send sends the replies to the packets that are being handled, each from the address that was
// asked. It returns how many the kernel did not take: it waits for none, as
// [Sender.Send], and one that fails is in nobody's way.
func (b *Batch) Send() (unsent int) {
	replies := 0
	for i := range b.got {
		p, s := &b.packets[i], &b.slots[i]
		if len(p.Reply) == 0 {
			continue
		}
		s.replyVec.Base = &p.Reply[0]
		s.replyVec.SetLen(len(p.Reply))
		h := &b.out[replies].hdr
		h.Name, h.Namelen, h.Iov = b.in[i].hdr.Name, b.in[i].hdr.Namelen, &s.replyVec
		h.SetIovlen(1)
		if b.sourced {
			oob := s.source.of(p.Info.Local, p.Info.Interface)
			h.Control = unsafe.SliceData(oob)
			h.SetControllen(len(oob))
		}
		p.Reply = nil // none is sent twice
		replies++
	}
	return b.sendmmsg(b.out[:replies])
}

// sendmmsg sends, and returns how many the kernel did not take. It stops at the first of them,
// and tells why when that is first again: so that one is passed over. The socket is not closed
// meanwhile, since this is within a read of it.
func (b *Batch) sendmmsg(out []mmsghdr) (unsent int) {
	for len(out) > 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, b.fd, uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)), unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			n = 1
			unsent++
		}
		out = out[n:]
	}
	return unsent
}
