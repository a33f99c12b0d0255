package h2

import (
	"bytes"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// recorded is a server that says what it is given when it is told to, and then closes.
type recorded struct {
	net.Conn
	say   *bytes.Reader
	begin chan struct{}
}

func (r *recorded) Read(b []byte) (int, error) {
	<-r.begin
	return r.say.Read(b)
}
func (*recorded) Write(b []byte) (int, error)      { return len(b), nil }
func (*recorded) SetWriteDeadline(time.Time) error { return nil }
func (*recorded) Close() error                     { return nil }

// FuzzServer has a server say anything to some requests: each of them ends, within the
// bounds.
func FuzzServer(f *testing.F) {
	seed := func(say func(*http2.Framer)) {
		var b bytes.Buffer
		fr := http2.NewFramer(&b, nil)
		fr.AllowIllegalWrites = true
		fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
		say(fr)
		f.Add(b.Bytes())
	}
	header := func(fr *http2.Framer, id uint32, end bool, fields ...hpack.HeaderField) {
		var b bytes.Buffer
		enc := hpack.NewEncoder(&b)
		for _, f := range fields {
			enc.WriteField(f)
		}
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: end, BlockFragment: b.Bytes()})
	}
	ok := hpack.HeaderField{Name: ":status", Value: "200"}
	f.Add([]byte{})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	seed(func(fr *http2.Framer) {
		header(fr, 1, false, ok, hpack.HeaderField{Name: "content-length", Value: "6"})
		fr.WriteDataPadded(1, true, []byte("answer"), make([]byte, 9))
		header(fr, 3, false, hpack.HeaderField{Name: ":status", Value: "103"})
		header(fr, 3, false, ok)
		fr.WriteData(3, false, []byte("answer"))
		header(fr, 3, true, hpack.HeaderField{Name: "x", Value: "y"})
		header(fr, 5, true, ok)
	})
	seed(func(fr *http2.Framer) {
		header(fr, 1, false, ok)
		fr.WriteData(1, false, make([]byte, 101))
		fr.WriteRSTStream(3, http2.ErrCodeRefusedStream)
		fr.WriteGoAway(3, http2.ErrCodeNo, []byte("bye"))
	})
	seed(func(fr *http2.Framer) {
		fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		fr.WriteWindowUpdate(0, 1<<30)
		fr.WriteWindowUpdate(1, 1<<31-1)
		fr.WritePing(false, [8]byte{})
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}})
		fr.WriteContinuation(1, true, nil)
		fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
	})
	f.Fuzz(func(t *testing.T, say []byte) {
		server := &recorded{say: bytes.NewReader(say), begin: make(chan struct{})}
		cfg := testConfig()
		cfg.Ping, cfg.Idle = time.Hour, time.Hour
		c := New(server, cfg)
		all := []*Exchange{c.Ask([]byte("query")), c.Ask(nil), c.Ask(make([]byte, 1<<10)), c.Ask(nil)}
		all[3].Cancel()
		close(server.begin)
		for i, e := range all {
			<-e.Done()
			if resp, err := e.Result(); err == nil && (resp.Status < 200 || resp.Status > 999 || len(resp.Body) > cfg.MaxBody) {
				t.Errorf("exchange %d: status %d, %d bytes", i, resp.Status, len(resp.Body))
			}
		}
		c.Close()
		if c.Usable() || len(c.streams)+len(c.waiting)+c.unsent != 0 {
			t.Errorf("%d exchanges, %d waiting, %d with a body", len(c.streams), len(c.waiting), c.unsent)
		}
	})
}
