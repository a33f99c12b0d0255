package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// terminals is how many a shop has.
const terminals = 30

// patience is that of a terminal: what takes longer is an error.
const patience = 5 * time.Second

// A shop is the mixed traffic of terminals, each an address of its own.
type shop struct {
	ports map[plane]int
	names []string // documented ones, which are in the cache
	hello []byte
	miss  atomic.Int64

	working sync.WaitGroup
	bursts  []chan struct{} // of each terminal

	mu    sync.Mutex
	done  map[string]int // of each kind of work
	errs  int
	first error // of those
}

func newShop(ports map[plane]int, names []string) *shop {
	return &shop{ports: ports, names: names, hello: clientHello(tunnelHost), done: make(map[string]int)}
}

// tunnelHost is the name of the target.
const tunnelHost = "target.bench.net"

// In a burst a terminal asks and opens tunnels as fast as it can.
const (
	bulkBytes    = 16 << 20
	burstQueries = 100
	burstTunnels = 10
)

// open lets the terminals work until ctx ends, and s.working is done then.
func (s *shop) open(ctx context.Context) {
	for i := range terminals {
		burst := make(chan struct{}, 1)
		s.bursts = append(s.bursts, burst)
		t := terminal{s, i, net.IPv4(127, 0, 1, byte(i+1))}
		s.working.Go(func() { t.work(ctx, burst) })
		s.working.Go(func() { t.stay(ctx) })
	}
}

// burst gives one to each terminal, unless the last has not begun yet.
func (s *shop) burst() {
	for _, b := range s.bursts {
		select {
		case b <- struct{}{}:
		default:
		}
	}
}

// note counts a piece of work that was done, or was not.
func (s *shop) note(kind string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.done[kind]++
		return
	}
	s.errs++
	if s.first == nil {
		s.first = fmt.Errorf("%s: %w", kind, err)
	}
}

// errors is how many there were.
func (s *shop) errors() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errs
}

// told tells what was done, and what went wrong.
func (s *shop) told() (done, wrong string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kinds []string
	for k, n := range s.done {
		kinds = append(kinds, fmt.Sprintf("%d %s", n, k))
	}
	slices.Sort(kinds)
	wrong = strconv.Itoa(s.errs)
	if s.first != nil {
		wrong += fmt.Sprintf(", the first: `%v`", s.first)
	}
	return strings.Join(kinds, ", "), wrong
}

// A terminal is one client of the shop.
type terminal struct {
	*shop
	n  int
	at net.IP
}

// work does each second what is due then: a name from the cache each second, one
// that is denied each other; a tunnel each 5 s, a name that is new each 20, the
// time each 64, and 16 MiB each 180. The terminals are not in step, but for bursts.
func (t terminal) work(ctx context.Context, burst <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for second := t.n * 7; ; second++ {
		select {
		case <-ctx.Done():
			return
		case <-burst:
			var all sync.WaitGroup
			for range burstTunnels {
				all.Go(func() { t.note("tunnel", t.tunnel(9000, len(t.hello))) })
			}
			for range burstQueries {
				t.hit()
			}
			all.Wait()
		case <-tick.C:
		}
		t.hit()
		if second%2 == 0 {
			t.note("denial", t.resolve(fmt.Sprintf("tracker%d.ads.example", second/2%20), 3))
		}
		if second%5 == 0 {
			t.note("tunnel", t.tunnel(9000, len(t.hello)))
		}
		if second%20 == 0 {
			t.note("DoH miss", t.resolve(fmt.Sprintf("q%d.miss.net", t.miss.Add(1)), 0))
		}
		if second%64 == 0 {
			t.note("time", t.time())
		}
		if second%180 == 0 {
			t.note(fmt.Sprintf("%d MiB", bulkBytes>>20), t.tunnel(9004, bulkBytes))
		}
	}
}

func (t terminal) hit() { t.note("cache hit", t.resolve(t.names[rand.IntN(len(t.names))], 0)) }

// stay keeps one tunnel as an MQTT client does: a few bytes each 10 s. A reload must
// not end it.
func (t terminal) stay(ctx context.Context) {
	c, err := t.connect(9000)
	if err != nil {
		t.note("long tunnel", err)
		return
	}
	defer c.Close()
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	said := t.hello // a tunnel begins with it
	for {
		err := exchange(c, said, len(said))
		t.note("exchange in a long tunnel", err)
		if err != nil {
			return
		}
		said = said[:16]
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tunnel opens one, says a ClientHello, reads so much, and closes.
func (t terminal) tunnel(port, bytes int) error {
	c, err := t.connect(port)
	if err != nil {
		return err
	}
	defer c.Close()
	return exchange(c, t.hello, bytes)
}

func exchange(c net.Conn, say []byte, hear int) error {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(say); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, c, int64(hear))
	return err
}

// connect asks the proxy for a tunnel to the target.
func (t terminal) connect(port int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: t.at}, Timeout: patience}
	c, err := d.Dial("tcp", local(t.ports[planeProxy]))
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "CONNECT %s:%d HTTP/1.1\r\nHost: %[1]s:%[2]d\r\n\r\n", tunnelHost, port)
	// The target says nothing before it is spoken to: the reader takes no byte of it.
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err == nil && !strings.Contains(line, " 200 ") {
		err = fmt.Errorf("the proxy said %q", line)
	}
	for err == nil && line != "\r\n" {
		line, err = r.ReadString('\n')
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// resolve asks for a name, and expects an answer with this rcode.
func (t terminal) resolve(name string, rcode byte) error {
	id := uint16(rand.Uint32())
	q := binary.BigEndian.AppendUint16(nil, id)
	q = append(q, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0) // RD, one question
	for label := range strings.SplitSeq(name, ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	q = append(q, 0, 0, 1, 0, 1) // A, IN
	answer, err := t.ask(planeDNS, q)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case len(answer) < len(q) || binary.BigEndian.Uint16(answer) != id || answer[3]&15 != rcode:
		return fmt.Errorf("%s: the answer is % x", name, answer)
	case rcode == 0 && answer[7] == 0:
		return fmt.Errorf("%s: no addresses", name)
	}
	return nil
}

// time asks for it. An answer of stratum 0 is none.
func (t terminal) time() error {
	answer, err := t.ask(planeNTP, []byte(ntpRequest))
	if err == nil && (len(answer) != len(ntpRequest) || answer[1] == 0) {
		err = fmt.Errorf("the answer is % x", answer)
	}
	return err
}

func (t terminal) ask(p plane, question []byte) ([]byte, error) {
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: t.at}}
	c, err := d.Dial("udp", local(t.ports[p]))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(question); err != nil {
		return nil, err
	}
	answer := make([]byte, 1500)
	n, err := c.Read(answer)
	return answer[:n], err
}

func local(port int) string {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)).String()
}

// clientHello is what crypto/tls says first to a server of this name.
func clientHello(name string) []byte {
	var said firstWrite
	tls.Client(&said, &tls.Config{ServerName: name}).Handshake() // fails: nobody answers
	return said.bytes
}

// A firstWrite is a connection to nobody, that keeps what is said first.
type firstWrite struct {
	net.Conn
	bytes []byte
}

func (f *firstWrite) Write(b []byte) (int, error) {
	f.bytes = append(f.bytes, b...)
	return 0, errors.New("nobody is there")
}
func (f *firstWrite) Close() error                       { return nil }
func (f *firstWrite) SetWriteDeadline(t time.Time) error { return nil }
