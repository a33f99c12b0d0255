package h2

import (
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// told asks a server that says something to that, and sees what the exchange comes to: want
// is in its outcome.
func told(t *testing.T, say func(*peer), want string) (*Conn, *peer) {
	t.Helper()
	c, p := connect(t, testConfig())
	p.fr.AllowIllegalWrites = true
	p.greet()
	e := c.Ask([]byte("query"))
	p.expect(firstHeaders)
	say(p)
	if got := outcome(e); !strings.Contains(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
	return c, p
}

// What a server may say to one request, and what the client makes of it and sends.
func TestResponse(t *testing.T) {
	long := strings.Repeat("x", 101)
	for _, tt := range []struct {
		name string
		say  func(*peer)
		want string // of the exchange
		sent string
	}{
		{"no body", func(p *peer) { p.header(1, true, ":status=204") }, `204 ""`, ""},
		{"another status", func(p *peer) { p.header(1, false, ":status=503"); p.data(1, true, "sorry") }, `503 ""`, "RST_STREAM 1 CANCEL"},
		{"as long as may be", func(p *peer) { p.answer(1, long[:100]) }, `200 "` + long[:100] + `"`, ""},
		{"trailer", func(p *peer) { p.header(1, false, ":status=200"); p.data(1, false, "a"); p.header(1, true, "x=y") }, `200 "a"`, ""},
		{"interim", func(p *peer) { p.header(1, false, ":status=103"); p.header(1, false, ":status=100"); p.answer(1, "a") }, `200 "a"`, ""},
		{"in pieces", func(p *peer) {
			p.block.Reset()
			p.must(p.enc.WriteField(hpack.HeaderField{Name: "x", Value: "y"}))
			p.must(p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}})) // :status 200
			p.must(p.fr.WriteContinuation(1, false, nil))
			p.must(p.fr.WriteContinuation(1, true, p.block.Bytes()))
			p.data(1, true, "a")
		}, `200 "a"`, ""},
		{"padding", func(p *peer) {
			p.header(1, false, ":status=200")
			p.must(p.fr.WriteDataPadded(1, true, []byte("a"), make([]byte, 50)))
		}, `200 "a"`, ""},
		{"unknown frames", func(p *peer) {
			p.must(p.fr.WriteRawFrame(0x42, 0xff, 1, []byte("?")))
			p.must(p.fr.WritePriority(1, http2.PriorityParam{StreamDep: 3, Weight: 1}))
			p.answer(1, "a")
		}, `200 "a"`, ""},
		{"more after the end", func(p *peer) {
			p.answer(1, "a")
			p.answer(1, "b")
			p.must(p.fr.WriteRSTStream(1, http2.ErrCodeNo))
			p.must(p.fr.WriteWindowUpdate(1, 9))
		}, `200 "a"`, ""},

		{"longer", func(p *peer) { p.header(1, false, ":status=200"); p.data(1, false, long) }, `200 "" cut`, "RST_STREAM 1 CANCEL"},
		{"longer, at its end", func(p *peer) { p.answer(1, long) }, `200 "" cut`, ""},
		{"longer, as announced", func(p *peer) { p.header(1, false, ":status=200", "content-length=101") }, `200 "" cut`, "RST_STREAM 1 CANCEL"},
		{"another status of many words", func(p *peer) { p.header(1, false, ":status=418", "content-length=999") }, `418 "" cut`, "RST_STREAM 1 CANCEL"},
		{"another status, as to HEAD", func(p *peer) { p.header(1, true, ":status=418", "content-length=9") }, `418 ""`, ""},

		{"reset", func(p *peer) { p.must(p.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream)) }, "the server has reset the stream: REFUSED_STREAM", ""},
		{"shorter than announced", func(p *peer) { p.header(1, false, ":status=200", "content-length=2"); p.data(1, true, "a") }, "it has 1 bytes and was to have 2", "RST_STREAM 1 PROTOCOL_ERROR"},
		{"longer than announced", func(p *peer) { p.header(1, false, ":status=200", "content-length=0"); p.data(1, true, "a") }, "it has 1 bytes and was to have 0", "RST_STREAM 1 PROTOCOL_ERROR"},
		{"nothing of what was announced", func(p *peer) { p.header(1, true, ":status=200", "content-length=1") }, "it has 0 bytes and was to have 1", "RST_STREAM 1 PROTOCOL_ERROR"},
		{"two lengths", func(p *peer) { p.header(1, false, ":status=200", "content-length=1", "content-length=2") }, `its content-length is "2"`, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a negative length", func(p *peer) { p.header(1, false, ":status=200", "content-length=-1") }, `its content-length is "-1"`, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"no status", func(p *peer) { p.header(1, true, "x=y") }, `its status is ""`, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"half a status", func(p *peer) { p.header(1, true, ":status=20") }, `its status is "20"`, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a status of words", func(p *peer) { p.header(1, true, ":status=yes") }, `its status is "yes"`, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a request", func(p *peer) { p.header(1, true, ":method=GET", ":path=/") }, `its status is ""`, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a field in upper case", func(p *peer) { p.header(1, true, ":status=200", "X=y") }, "stream error: ", "RST_STREAM 1 PROTOCOL_ERROR"},
		{"switching protocols", func(p *peer) { p.header(1, false, ":status=101") }, "it goes on after status 101", "RST_STREAM 1 PROTOCOL_ERROR"},
		{"interim for ever", func(p *peer) {
			for range maxEarly + 1 {
				p.header(1, false, ":status=100")
			}
		}, "it goes on after status 100", "RST_STREAM 1 PROTOCOL_ERROR"},
		{"the end of an interim", func(p *peer) { p.header(1, true, ":status=100") }, "it goes on after status 100", "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a body first", func(p *peer) { p.data(1, true, "a") }, "it begins with its body", "RST_STREAM 1 PROTOCOL_ERROR"},
		{"two headers", func(p *peer) { p.header(1, false, ":status=200"); p.header(1, false, ":status=200") }, "it has a second header", "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a header too long", func(p *peer) {
			p.header(1, true, ":status=200", "x="+strings.Repeat("a", 10<<10), "y="+strings.Repeat("e", 9<<10))
		}, "its header is too long", "RST_STREAM 1 PROTOCOL_ERROR"},
		{"a window too wide", func(p *peer) { p.must(p.fr.WriteWindowUpdate(1, maxWindow)) }, "a window is too large", "RST_STREAM 1 FLOW_CONTROL_ERROR"},
		{"a window wider by nothing", func(p *peer) { p.must(p.fr.WriteRawFrame(http2.FrameWindowUpdate, 0, 1, make([]byte, 4))) }, "stream error: ", "RST_STREAM 1 PROTOCOL_ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := told(t, tt.say, tt.want)
				if sent := strings.Join(p.frames(), "; "); sent != tt.sent {
					t.Errorf("the client sent %q, want %q", sent, tt.sent)
				}
				next := c.Ask(nil) // the others don't suffer
				p.answer(3, "well")
				if got := outcome(next); got != `200 "well"` {
					t.Errorf("the next: %s", got)
				}
			})
		})
	}
}

// What ends a connection, and what the client says to that.
func TestBroken(t *testing.T) {
	for _, tt := range []struct {
		name string
		say  func(*peer)
		want string // of the exchange
		sent string
	}{
		{"closed", func(p *peer) { p.conn.Close() }, "EOF", "closed"},
		{"HTTP/1.1", func(p *peer) { p.conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, "frame too large", "GOAWAY FRAME_SIZE_ERROR; closed"},
		{"a promise", func(p *peer) {
			p.must(p.fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true}))
		}, "it pushes", "GOAWAY PROTOCOL_ERROR; closed"},
		{"a response to nothing", func(p *peer) { p.header(3, false, ":status=200") }, "of stream 3, which was never opened", "GOAWAY PROTOCOL_ERROR; closed"},
		{"a stream of its own", func(p *peer) { p.header(2, true, ":status=200") }, "of stream 2, which was never opened", "GOAWAY PROTOCOL_ERROR; closed"},
		{"a body of nothing", func(p *peer) { p.data(3, true, "a") }, "of stream 3, which was never opened", "GOAWAY PROTOCOL_ERROR; closed"},
		{"a reset of nothing", func(p *peer) { p.must(p.fr.WriteRSTStream(3, 0)) }, "of stream 3, which was never opened", "GOAWAY PROTOCOL_ERROR; closed"},
		{"a window of nothing", func(p *peer) { p.must(p.fr.WriteWindowUpdate(3, 1)) }, "of stream 3, which was never opened", "GOAWAY PROTOCOL_ERROR; closed"},
		{"the connection's window too wide", func(p *peer) { p.must(p.fr.WriteWindowUpdate(0, maxWindow)) }, "a window is too large", "GOAWAY FLOW_CONTROL_ERROR; closed"},
		{"a setting that makes a window too wide", func(p *peer) {
			p.must(p.fr.WriteWindowUpdate(1, maxWindow-firstWindow+5))
			p.must(p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: firstWindow + 1}))
		}, "FLOW_CONTROL_ERROR", "GOAWAY FLOW_CONTROL_ERROR; closed"},
		{"a bad setting", func(p *peer) {
			p.must(p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}))
		}, "FLOW_CONTROL_ERROR", "GOAWAY FLOW_CONTROL_ERROR; closed"},
		{"a header that is none", func(p *peer) {
			p.must(p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: []byte{0xff}}))
		}, "COMPRESSION_ERROR", "GOAWAY COMPRESSION_ERROR; closed"},
		{"a header that is never whole", func(p *peer) {
			p.must(p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}}))
			for range 100 {
				if p.fr.WriteContinuation(1, false, make([]byte, maxFrame)) != nil {
					return
				}
			}
			p.t.Error("the client took all of it")
		}, "PROTOCOL_ERROR", "GOAWAY PROTOCOL_ERROR; closed"},
		{"something between the pieces of a header", func(p *peer) {
			p.must(p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}}))
			p.fr.WritePing(false, [8]byte{})
		}, "PROTOCOL_ERROR", "GOAWAY PROTOCOL_ERROR; closed"},
		{"more padding than frame", func(p *peer) {
			p.must(p.fr.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{9, 0}))
		}, "PROTOCOL_ERROR", "GOAWAY PROTOCOL_ERROR; closed"},
		{"a frame too long", func(p *peer) { p.fr.WriteData(1, true, make([]byte, maxFrame+1)) }, "frame too large", "GOAWAY FRAME_SIZE_ERROR; closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := told(t, tt.say, tt.want)
				p.expect(tt.sent)
				if next := outcome(c.Ask(nil)); next == "open" || c.Usable() {
					t.Errorf("the next: %s", next)
				}
			})
		})
	}
}

// The first that a server says are its settings (RFC 9113 §3.4).
func TestNoSettings(t *testing.T) {
	for _, say := range []func(*peer){
		func(p *peer) { p.must(p.fr.WritePing(false, [8]byte{})) },
		func(p *peer) { p.must(p.fr.WriteSettingsAck()) },
	} {
		synctest.Test(t, func(t *testing.T) {
			_, p := connect(t, testConfig())
			say(p)
			p.expect("GOAWAY PROTOCOL_ERROR", "closed")
		})
	}
}

// Who has more to be acknowledged than it reads is left.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, testConfig())
		p.greet()
		p.stop.Store(true)
		n := 0
		for ; c.Usable(); n++ {
			p.fr.WritePing(false, [8]byte{})
			synctest.Wait()
		}
		if most := maxUnsent / 17; n < most-5 || n > most+5 {
			t.Errorf("left after %d pings, want some %d", n, most)
		}
		if got := outcome(c.Ask(nil)); !strings.Contains(got, "more to acknowledge than is read") {
			t.Error(got)
		}
	})
}
