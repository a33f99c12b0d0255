package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tillgate/policy"
)

// clientHello is what crypto/tls says first as a client.
func clientHello(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	conn, far := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- tls.Client(conn, c).Handshake()
		conn.Close()
	}()
	// crypto/tls writes a hello in one go, and then waits for an answer.
	buf := make([]byte, maxHello)
	n, err := far.Read(buf)
	far.Close()
	if hs := <-done; err != nil || hs == nil {
		t.Fatalf("no hello: %v, %v", err, hs)
	}
	return buf[:n]
}

// handshake is the message in a hello of one record.
func handshake(hello []byte) []byte { return hello[5:] }

// records is a message as records of at most size bytes.
func records(msg []byte, size int) []byte {
	var out []byte
	for len(msg) > 0 {
		n := min(size, len(msg))
		out = append(out, 22, 3, 1, byte(n>>8), byte(n))
		out = append(out, msg[:n]...)
		msg = msg[n:]
	}
	return out
}

func prefixed16(b ...byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func extension(number uint16, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, number), prefixed16(body...)...)
}

func hostName(name string) []byte { return append([]byte{0}, prefixed16([]byte(name)...)...) }

// serverName is the extension with the given entries.
func serverName(entries ...[]byte) []byte {
	return extension(extServerName, prefixed16(bytes.Join(entries, nil)...)...)
}

// message is a ClientHello, drawn in RFC 8446, section 4.1.2.
func message(extensions ...[]byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...) // version, random
	body = append(body, 0)                            // no session
	body = append(body, prefixed16(0x13, 0x01)...)    // TLS_AES_128_GCM_SHA256
	body = append(body, 1, 0)                         // no compression
	if extensions != nil {
		body = append(body, prefixed16(bytes.Join(extensions, nil)...)...)
	}
	return append([]byte{1, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

func handMade(extensions ...[]byte) []byte { return records(message(extensions...), 1<<14) }

// greaseECH is what Chrome sends: an outer extension with a random payload.
func greaseECH() []byte {
	body := []byte{0, 0, 1, 0, 1, 0x42}                     // outer, HKDF-SHA256, AES-128-GCM, id
	body = append(body, prefixed16(make([]byte, 32)...)...) // enc
	body = append(body, prefixed16(make([]byte, 144)...)...)
	return extension(0xfe0d, body...)
}

// segments gives one of its parts for each read, then the error.
type segments struct {
	parts [][]byte
	end   error
}

func (s *segments) Read(p []byte) (int, error) {
	if len(p) == 0 {
		panic("a read of no bytes would wait for some")
	}
	if len(s.parts) == 0 {
		return 0, s.end
	}
	n := copy(p, s.parts[0])
	if s.parts[0] = s.parts[0][n:]; len(s.parts[0]) == 0 {
		s.parts = s.parts[1:]
	}
	return n, nil
}

// cut is data in segments of at most size bytes, followed by silence.
func cut(data []byte, size int) *segments {
	s := &segments{end: os.ErrDeadlineExceeded}
	for len(data) > 0 {
		n := min(size, len(data))
		s.parts = append(s.parts, data[:n])
		data = data[n:]
	}
	return s
}

// reasonOf is NoReason for nil.
func reasonOf(t testing.TB, err error) policy.Reason {
	t.Helper()
	var he *helloError
	switch {
	case err == nil:
		return policy.NoReason
	case !errors.As(err, &he) || he.Err == nil:
		t.Fatalf("%#v is no helloError with a cause", err)
	}
	return he.Reason
}

func TestRealHellos(t *testing.T) {
	const name = "payxpress-soft-mpos.firebaseio.com"
	version := func(v uint16) *tls.Config {
		return &tls.Config{ServerName: name, MinVersion: v, MaxVersion: v}
	}
	classic := version(tls.VersionTLS13)
	classic.CurvePreferences = []tls.CurveID{tls.X25519}
	quantum := version(tls.VersionTLS13)
	quantum.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
	alpn := version(0)
	alpn.NextProtos = []string{"h2", "http/1.1"}
	upper := version(0)
	upper.ServerName = "Payxpress-Soft-MPOS.FirebaseIO.com"

	for _, tt := range []struct {
		name   string
		config *tls.Config
		want   helloInfo
	}{
		{"TLS 1.0", version(tls.VersionTLS10), helloInfo{Name: name, HasSNI: true}},
		{"TLS 1.1", version(tls.VersionTLS11), helloInfo{Name: name, HasSNI: true}},
		{"TLS 1.2", version(tls.VersionTLS12), helloInfo{Name: name, HasSNI: true}},
		{"TLS 1.3, X25519", classic, helloInfo{Name: name, HasSNI: true}},
		{"TLS 1.3, X25519MLKEM768", quantum, helloInfo{Name: name, HasSNI: true}},
		{"ALPN", alpn, helloInfo{Name: name, HasSNI: true, Protos: []string{"h2", "http/1.1"}}},
		{"capital letters", upper, helloInfo{Name: name, HasSNI: true}},
		{"no name", &tls.Config{InsecureSkipVerify: true}, helloInfo{}},
		{"an address, for which crypto/tls sends no SNI", &tls.Config{ServerName: "192.0.2.1"}, helloInfo{}},
	} {
		whole := clientHello(t, tt.config)
		if tt.config == quantum && len(whole) < 1184 { // FIPS 203, table 3
			t.Errorf("%s: %d bytes have no ML-KEM-768 key in them", tt.name, len(whole))
		}
		for _, record := range []int{1 << 14, 100, 1} {
			wire := records(handshake(whole), record)
			for _, segment := range []int{len(wire), 1460, 7, 1} {
				h, raw, err := readHello(cut(wire, segment), nil)
				if err != nil {
					t.Errorf("%s, records of %d, segments of %d: %v", tt.name, record, segment, err)
					continue
				}
				if diff := cmp.Diff(tt.want, h); diff != "" {
					t.Errorf("%s, records of %d, segments of %d (-want +got):\n%s", tt.name, record, segment, diff)
				}
				if !bytes.Equal(raw, wire) {
					t.Errorf("%s, records of %d, segments of %d: replay differs", tt.name, record, segment)
				}
			}
		}
	}
}

func TestHellos(t *testing.T) {
	sni := func(name string) []byte { return handMade(serverName(hostName(name))) }
	padding := func(n int) []byte { return extension(21, make([]byte, n)...) }
	// What the hello of one name and a padding has beside the padding.
	rest := len(handMade(serverName(hostName("a.example")), padding(0)))

	for _, tt := range []struct {
		name string
		wire []byte
		want helloInfo
		err  policy.Reason
	}{
		{"plain", sni("a.example"), helloInfo{Name: "a.example", HasSNI: true}, 0},
		{"no extensions at all", handMade(), helloInfo{}, 0},
		{"GREASE ECH", handMade(greaseECH(), serverName(hostName("a.example"))), helloInfo{Name: "a.example", HasSNI: true}, 0},
		{"GREASE extensions", handMade(extension(0x0a0a), serverName(hostName("a.example")), extension(0xfafa, 0)), helloInfo{Name: "a.example", HasSNI: true}, 0},
		{"a name of another kind beside it", handMade(serverName([]byte{9, 0, 1, 'x'}, hostName("a.example"))), helloInfo{Name: "a.example", HasSNI: true}, 0},
		{"the largest", handMade(serverName(hostName("a.example")), padding(maxHello-rest)), helloInfo{Name: "a.example", HasSNI: true}, 0},

		// No host names, for policy.Set.Decide to say why.
		{"IPv4", sni("192.0.2.1"), helloInfo{Name: "192.0.2.1", HasSNI: true}, 0},
		{"IPv6", sni("2001:db8::1"), helloInfo{Name: "2001:db8::1", HasSNI: true}, 0},
		{"IPv6 in brackets", sni("[::1]"), helloInfo{Name: "[::1]", HasSNI: true}, 0},
		{"NUL", sni("a.example\x00.b.example"), helloInfo{Name: "a.example\x00.b.example", HasSNI: true}, 0},
		{"not ASCII, and not lowered", sni("Ä.example"), helloInfo{Name: "Ä.example", HasSNI: true}, 0},
		{"a port", sni("a.example:443"), helloInfo{Name: "a.example:443", HasSNI: true}, 0},
		{"empty label", sni("a..example"), helloInfo{Name: "a..example", HasSNI: true}, 0},
		{"too long", sni(strings.Repeat("a.", 127) + "a"), helloInfo{Name: strings.Repeat("a.", 127) + "a", HasSNI: true}, 0},

		{"dot at the end", sni("a.example."), helloInfo{}, policy.Malformed},
		{"empty name", sni(""), helloInfo{}, policy.Malformed},
		{"two names", handMade(serverName(hostName("a.example"), hostName("b.example"))), helloInfo{}, policy.Malformed},
		{"two extensions", handMade(serverName(hostName("a.example")), serverName(hostName("b.example"))), helloInfo{}, policy.Malformed},
		{"a name of another kind only", handMade(serverName([]byte{9, 0, 1, 'x'})), helloInfo{}, policy.Malformed},
		{"an empty list", handMade(serverName()), helloInfo{}, policy.Malformed},
		{"bytes behind the extensions", records(append(message(serverName(hostName("a.example"))), 0), 1<<14), helloInfo{Name: "a.example", HasSNI: true}, 0},
		{"one byte too many", handMade(serverName(hostName("a.example")), padding(maxHello-rest+1)), helloInfo{}, policy.Malformed},
		{"says 60,000 bytes", records(append([]byte{1, 0, 0xea, 0x60}, make([]byte, 60000)...), 1<<14), helloInfo{}, policy.Malformed},
		{"says 16 MiB", records([]byte{1, 0xff, 0xff, 0xff}, 4), helloInfo{}, policy.Malformed},
		{"an oversized record", []byte{22, 3, 1, 0xff, 0xff}, helloInfo{}, policy.Malformed},
		{"an empty record", []byte{22, 3, 1, 0, 0}, helloInfo{}, policy.Malformed},
		{"a ServerHello", records([]byte{2, 0, 0, 0}, 4), helloInfo{}, policy.Malformed},
		{"a Finished", records([]byte{20, 0, 0, 1, 0}, 5), helloInfo{}, policy.Malformed},
		{"application data after half of it", append(records(message()[:9], 9), 23, 3, 3, 0, 1, 0), helloInfo{}, policy.Malformed},

		{"nothing", nil, helloInfo{}, policy.NoHello},
		{"one byte", []byte{22}, helloInfo{}, policy.NoHello},
		{"half of it", sni("a.example")[:20], helloInfo{}, policy.NoHello},
		{"all but a byte", sni("a.example")[:len(sni("a.example"))-1], helloInfo{}, policy.NoHello},

		{"SSH", []byte("SSH-2.0-OpenSSH_9.9\r\n"), helloInfo{}, policy.NotTLS},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), helloInfo{}, policy.NotTLS},
		{"SSLv2", []byte{0x80, 0x2e, 1, 0, 2}, helloInfo{}, policy.NotTLS},
		{"an alert", []byte{21, 3, 1, 0, 2, 1, 0}, helloInfo{}, policy.NotTLS},
		{"DTLS", []byte{22, 0xfe, 0xfd, 0, 0}, helloInfo{}, policy.NotTLS},
		{"MQTT", []byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T'}, helloInfo{}, policy.NotTLS},
	} {
		for _, size := range []int{1 << 20, 1000, 1} {
			if size == 1 && len(tt.wire) > 20000 {
				continue
			}
			h, raw, err := readHello(cut(tt.wire, size), nil)
			if got := reasonOf(t, err); got != tt.err {
				t.Errorf("%s, by %d: error %v, want %q", tt.name, size, err, tt.err)
			}
			if diff := cmp.Diff(tt.want, h); diff != "" {
				t.Errorf("%s, by %d (-want +got):\n%s", tt.name, size, diff)
			}
			if !bytes.HasPrefix(tt.wire, raw) || len(raw) > maxHello {
				t.Errorf("%s, by %d: read %d bytes, not the first of what came", tt.name, size, len(raw))
			}
		}
	}
}

// What came before and what came with the hello are replayed.
func TestHelloReplay(t *testing.T) {
	wire := append(handMade(serverName(hostName("a.example"))), "and early data"...)
	for n := range len(wire) {
		already := append(make([]byte, 0, 4096), wire[:n]...)
		h, raw, err := readHello(cut(wire[n:], 1<<20), already)
		if err != nil || h.Name != "a.example" {
			t.Fatalf("with %d bytes before: %v, %v", n, h, err)
		}
		if hello := len(wire) - len("and early data"); n < hello && !bytes.Equal(raw, wire) || n >= hello && !bytes.Equal(raw, wire[:n]) {
			t.Errorf("with %d bytes before, %d of %d are replayed", n, len(raw), len(wire))
		}
		if &raw[:1][0] != &already[:1][0] {
			t.Errorf("with %d bytes before, the room behind them is not used", n)
		}
	}

	// More than a hello may have, but behind the hello.
	already := append(wire, make([]byte, maxHello)...)
	h, raw, err := readHello(&segments{end: io.EOF}, already)
	if err != nil || h.Name != "a.example" || !bytes.Equal(raw, already) {
		t.Errorf("with much behind: %v, %v, %d of %d bytes", h, err, len(raw), len(already))
	}
}

// The cause is there for the record, and for who wants to know whether it was
// the client that left.
func TestHelloCause(t *testing.T) {
	for _, end := range []error{io.EOF, os.ErrDeadlineExceeded, net.ErrClosed} {
		_, raw, err := readHello(&segments{parts: [][]byte{{22, 3}}, end: end}, nil)
		if reasonOf(t, err) != policy.NoHello || !errors.Is(err, end) || len(raw) != 2 {
			t.Errorf("at %v: %v, %x", end, err, raw)
		}
	}
}

// What is not TLS is known at the first byte that can tell, not at the deadline.
func TestNotTLSAtOnce(t *testing.T) {
	for _, wire := range []string{"S", "G", "\x80", "\x15", "\x16\xfe"} {
		stuck := errors.New("asked for more")
		_, _, err := readHello(&segments{parts: [][]byte{[]byte(wire)}, end: stuck}, nil)
		if reasonOf(t, err) != policy.NotTLS {
			t.Errorf("%q: %v", wire, err)
		}
	}
}

func TestHelloOneByteASecond(t *testing.T) {
	wire := handMade(serverName(hostName("a.example")))
	for _, tt := range []struct {
		name string
		wait time.Duration
		want policy.Reason
	}{
		{"until the deadline", 5 * time.Second, policy.NoHello},
		{"to the end", time.Duration(len(wire)+1) * time.Second, policy.NoReason},
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			var client sync.WaitGroup
			defer client.Wait()
			defer near.Close()
			client.Go(func() {
				for i := range wire {
					time.Sleep(time.Second)
					if _, err := far.Write(wire[i : i+1]); err != nil {
						return
					}
				}
			})
			near.SetReadDeadline(time.Now().Add(tt.wait))
			_, _, err := readHello(near, nil)
			if got := reasonOf(t, err); got != tt.want {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
		})
	}
}
