package h2

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// testConfig is what the tests ask with, unless they say otherwise.
func testConfig() Config {
	return Config{
		Header:       []Field{{":method", "POST"}, {":path", "/q"}},
		MaxBody:      100,
		MaxHeader:    16 << 10,
		Ping:         5 * time.Second,
		PingTimeout:  2 * time.Second,
		WriteTimeout: 3 * time.Second,
		Idle:         time.Minute,
	}
}

// A peer is a server that does what the test tells it, in a synctest bubble. What the
// client sends is there as text.
type peer struct {
	t     *testing.T
	conn  net.Conn
	fr    *http2.Framer // writes
	block bytes.Buffer
	enc   *hpack.Encoder
	got   chan string // frames
	pong  atomic.Bool // answers pings
	stop  atomic.Bool // reads no more after the next frame
	wire  *counted
}

// counted is the client's side of a connection. While its gate is shut writes wait.
type counted struct {
	net.Conn
	writes int
	gate   chan struct{} // nil: open
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes++
	if c.gate != nil {
		<-c.gate
	}
	return c.Conn.Write(b)
}

// connect returns a connection and its peer, which has read the client's first words.
func connect(t *testing.T, cfg Config) (*Conn, *peer) {
	client, server := net.Pipe()
	p := &peer{t: t, conn: server, fr: http2.NewFramer(server, nil), got: make(chan string, 1<<16), wire: &counted{Conn: client}}
	p.enc = hpack.NewEncoder(&p.block)
	go p.read()
	c := New(p.wire, cfg)
	t.Cleanup(func() { // of the bubble: nothing may be left
		server.Close()
		c.Close()
	})
	p.expect("SETTINGS [ENABLE_PUSH = 0] [INITIAL_WINDOW_SIZE = 1048576] [MAX_HEADER_LIST_SIZE = 16384]", "WINDOW_UPDATE 0 983041")
	return c, p
}

// greet sends settings, which must be acknowledged.
func (p *peer) greet(settings ...http2.Setting) {
	p.t.Helper()
	p.must(p.fr.WriteSettings(settings...))
	p.expect("SETTINGS ACK")
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// read notes frames until the client closes.
func (p *peer) read() {
	defer close(p.got)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(p.conn, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	fr := http2.NewFramer(p.conn, p.conn)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		p.got <- text(f)
		if ping, ok := f.(*http2.PingFrame); ok && p.pong.Load() {
			fr.WritePing(true, ping.Data)
		}
		if p.stop.Load() {
			return
		}
	}
}

func text(f http2.Frame) string {
	id := f.Header().StreamID
	end := ""
	if t := f.Header().Type; (t == http2.FrameData || t == http2.FrameHeaders) && f.Header().Flags.Has(http2.FlagDataEndStream) {
		end = " end"
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		var b strings.Builder
		for _, h := range f.Fields {
			fmt.Fprintf(&b, " %s=%s", h.Name, h.Value)
		}
		return fmt.Sprintf("HEADERS %d%s%s", id, b.String(), end)
	case *http2.DataFrame:
		return fmt.Sprintf("DATA %d %d%s", id, len(f.Data()), end)
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("RST_STREAM %d %v", id, f.ErrCode)
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("WINDOW_UPDATE %d %d", id, f.Increment)
	case *http2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY %v", f.ErrCode)
	case *http2.PingFrame:
		if f.IsAck() {
			return fmt.Sprintf("PING ACK %s", f.Data[:])
		}
		return "PING"
	case *http2.SettingsFrame:
		if f.IsAck() {
			return "SETTINGS ACK"
		}
		s := "SETTINGS"
		f.ForeachSetting(func(one http2.Setting) error { s += " " + one.String(); return nil })
		return s
	}
	return f.Header().String()
}

// frames returns what has come from the client.
func (p *peer) frames() (all []string) {
	synctest.Wait()
	for {
		select {
		case f, ok := <-p.got:
			if !ok {
				return append(all, "closed")
			}
			all = append(all, f)
		default:
			return all
		}
	}
}

func (p *peer) expect(want ...string) {
	p.t.Helper()
	if got, want := strings.Join(p.frames(), "; "), strings.Join(want, "; "); got != want {
		p.t.Errorf("the client sent %q, want %q", got, want)
	}
}

// header sends the header of a response, or a trailer.
func (p *peer) header(id uint32, end bool, fields ...string) {
	p.block.Reset()
	for _, f := range fields {
		at := strings.LastIndex(f, "=")
		p.enc.WriteField(hpack.HeaderField{Name: f[:at], Value: f[at+1:]})
	}
	p.must(p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: end, BlockFragment: p.block.Bytes()}))
}

func (p *peer) data(id uint32, end bool, body string) { p.must(p.fr.WriteData(id, end, []byte(body))) }

// answer is a whole response.
func (p *peer) answer(id uint32, body string) {
	p.header(id, false, ":status=200")
	p.data(id, true, body)
}

// allow has the client have so many streams at once.
func (p *peer) allow(streams uint32) {
	p.must(p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: streams}))
}

// outcome is what an exchange came to, as text.
func outcome(e *Exchange) string {
	synctest.Wait()
	select {
	case <-e.Done():
	default:
		return "open"
	}
	resp, err := e.Result()
	if err != nil {
		return err.Error()
	}
	cut := ""
	if resp.Cut {
		cut = " cut"
	}
	return fmt.Sprintf("%d %q%s", resp.Status, resp.Body, cut)
}

const (
	firstHeaders = "HEADERS 1 :method=POST :path=/q content-length=5; DATA 1 5 end"
	noBody       = "HEADERS %d :method=POST :path=/q content-length=0 end"
)
