package h2

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// A request is one write, and so one TLS record.
func TestExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, testConfig())
		p.greet()
		for i, want := range []string{firstHeaders, "HEADERS 3 :method=POST :path=/q content-length=5; DATA 3 5 end"} {
			before := p.wire.writes
			e := c.Ask([]byte("query"))
			p.expect(want)
			if got := p.wire.writes - before; got != 1 {
				t.Errorf("%d writes for one request", got)
			}
			id := uint32(2*i + 1)
			p.header(id, false, ":status=200", "date=today", "x=1", "x=2", "content-length=11")
			p.data(id, false, "an ")
			if got := outcome(e); got != "open" {
				t.Errorf("after half a response: %s", got)
			}
			p.data(id, true, "answer..")
			if got := outcome(e); got != `200 "an answer.."` {
				t.Error(got)
			}
			resp, _ := e.Result()
			if resp.Get("date") != "today" || resp.Get("x") != "1" || resp.Get(":status") != "" || resp.Get("y") != "" {
				t.Errorf("header %v", resp.Header)
			}
		}
		p.expect()
		if !c.Usable() {
			t.Error("not usable")
		}
		c.Close()
		p.expect("GOAWAY NO_ERROR", "closed")
		if c.Usable() || outcome(c.Ask(nil)) != ErrClosed.Error() {
			t.Error("usable when closed")
		}
	})
}

// What comes together leaves together.
func TestWriteTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, testConfig())
		p.greet()
		p.wire.gate = make(chan struct{})
		c.Ask([]byte("query"))
		synctest.Wait()
		for range 9 {
			c.Ask([]byte("query")) // does not wait for the first
		}
		before := p.wire.writes
		close(p.wire.gate)
		if got := len(p.frames()); got != 20 {
			t.Errorf("%d frames, want 10 of headers and 10 of data", got)
		}
		if got := p.wire.writes - before; got != 1 {
			t.Errorf("%d more writes for what waited", got)
		}
	})
}

func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, testConfig())
		p.greet(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		first, second, third := c.Ask(nil), c.Ask(nil), c.Ask(nil)
		p.expect(fmt.Sprintf(noBody, 1))
		second.Cancel()
		p.expect() // the server never heard of it
		p.answer(1, "a")
		p.expect(fmt.Sprintf(noBody, 3))
		fourth := c.Ask(nil)
		third.Cancel()
		p.expect("RST_STREAM 3 CANCEL", fmt.Sprintf(noBody, 5))
		third.Cancel() // again: nothing
		p.answer(3, "late")
		p.expect()
		fifth := c.Ask(nil)
		p.allow(2)
		p.expect("SETTINGS ACK", fmt.Sprintf(noBody, 7))
		p.answer(7, "e")
		p.answer(5, "d")
		for i, want := range []string{`200 "a"`, context.Canceled.Error(), context.Canceled.Error(), `200 "d"`, `200 "e"`} {
			if got := outcome([]*Exchange{first, second, third, fourth, fifth}[i]); got != want {
				t.Errorf("exchange %d: %s, want %s", i+1, got, want)
			}
		}
	})
}

// Before the server has said how many it takes it gets as many as are usual.
func TestFirstStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, testConfig())
		var all []*Exchange
		for range firstStreams + 10 {
			all = append(all, c.Ask(nil))
		}
		if got := len(p.frames()); got != firstStreams {
			t.Errorf("%d streams before the settings", got)
		}
		p.allow(1 << 20)
		if got := len(p.frames()); got != 1+10 {
			t.Errorf("%d frames after", got)
		}
		c.Close()
		for _, e := range all {
			if got := outcome(e); got != ErrClosed.Error() {
				t.Fatal(got)
			}
		}
	})
}

func TestWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, testConfig())
		p.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
		e := c.Ask([]byte("query"))
		p.expect("HEADERS 1 :method=POST :path=/q content-length=5", "DATA 1 3")
		p.must(p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}))
		p.expect("SETTINGS ACK")
		p.must(p.fr.WriteWindowUpdate(1, 2)) // -2 and 2
		p.expect()
		p.must(p.fr.WriteWindowUpdate(1, 1))
		p.expect("DATA 1 1")
		p.must(p.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 70000}))
		p.expect("SETTINGS ACK", "DATA 1 1 end")
		p.answer(1, "")
		if got := outcome(e); got != `200 ""` {
			t.Error(got)
		}

		// The connection's, of which that first one has had its part; and a frame's.
		long := c.Ask(make([]byte, 66000))
		p.expect("HEADERS 3 :method=POST :path=/q content-length=66000", "DATA 3 16384", "DATA 3 16384", "DATA 3 16384", "DATA 3 16378")
		e = c.Ask([]byte("query"))
		p.expect("HEADERS 5 :method=POST :path=/q content-length=5")
		p.answer(5, "early") // and not interested in the rest
		p.expect("RST_STREAM 5 CANCEL")
		if got := outcome(e); got != `200 "early"` {
			t.Error(got)
		}
		p.must(p.fr.WriteWindowUpdate(0, 100))
		p.expect("DATA 3 100")
		long.Cancel()
		p.expect("RST_STREAM 3 CANCEL")
		p.must(p.fr.WriteWindowUpdate(0, 100))
		p.expect()
		if c.unsent != 0 {
			t.Errorf("%d streams are to send more", c.unsent)
		}
	})
}

// What comes is acknowledged long before it fills the window, padding too.
func TestOwnWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, testConfig())
		p.greet()
		sent := 0
		for id := uint32(1); sent <= ownWindow; id += 2 {
			e := c.Ask(nil)
			p.header(id, false, ":status=200")
			for range 30 {
				p.must(p.fr.WriteDataPadded(id, false, []byte("abc"), make([]byte, 250)))
				sent += 254
			}
			p.data(id, true, "")
			if got := outcome(e); got != fmt.Sprintf(`200 "%s"`, strings.Repeat("abc", 30)) {
				t.Fatal(got)
			}
		}
		if n := strings.Count(strings.Join(p.frames(), "; "), "WINDOW_UPDATE 0 524"); n != 2 {
			t.Errorf("%d updates of the connection's window, want one for each half", n)
		}
	})
}

func TestGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, testConfig())
		p.greet(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
		first, second, third := c.Ask(nil), c.Ask(nil), c.Ask(nil)
		p.must(p.fr.WriteGoAway(1, http2.ErrCodeNo, []byte("bye")))
		for i, e := range []*Exchange{second, third, c.Ask(nil)} {
			if got := outcome(e); got != `the server closes the connection: NO_ERROR, "bye"` {
				t.Errorf("exchange %d: %v", i+2, got)
			}
		}
		if got := outcome(first); got != "open" || c.Usable() {
			t.Errorf("the first: %s", got)
		}
		p.frames()
		p.answer(1, "last")
		if got := outcome(first); got != `200 "last"` {
			t.Error(got)
		}
		p.expect("GOAWAY NO_ERROR", "closed")
	})
}

// A connection has as many streams as there are numbers.
func TestStreamNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, testConfig())
		p.greet()
		c.next = lastStream
		last, more := c.Ask(nil), c.Ask(nil)
		if got := outcome(more); got != errExhausted.Error() {
			t.Error(got)
		}
		p.answer(lastStream, "last")
		if got := outcome(last); got != `200 "last"` {
			t.Error(got)
		}
		if got := p.frames(); got[len(got)-1] != "closed" {
			t.Errorf("frames %v", got)
		}
	})
}

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, testConfig())
		p.greet()
		e := c.Ask(nil)
		p.frames()
		time.Sleep(4 * time.Second)
		p.must(p.fr.WritePing(false, [8]byte([]byte("sequence")))) // it lives
		p.expect("PING ACK sequence")
		time.Sleep(5*time.Second - 1)
		p.expect()
		time.Sleep(time.Nanosecond)
		p.expect("PING")
		time.Sleep(2*time.Second - 1)
		p.must(p.fr.WritePing(true, [8]byte{}))
		p.expect()
		time.Sleep(5 * time.Second)
		p.expect("PING")
		time.Sleep(2*time.Second - 1)
		if got := outcome(e); got != "open" {
			t.Errorf("too early: %s", got)
		}
		time.Sleep(time.Nanosecond)
		if got := outcome(e); got != errLost.Error() {
			t.Error(got)
		}
		p.expect("GOAWAY NO_ERROR", "closed")
	})
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		c, p := connect(t, cfg)
		p.greet()
		p.pong.Store(true)
		time.Sleep(cfg.Idle - 1)
		e := c.Ask(nil)
		time.Sleep(2 * cfg.Idle)
		p.answer(1, "slow")
		if got := outcome(e); got != `200 "slow"` {
			t.Error(got)
		}
		time.Sleep(cfg.Idle - 1)
		if p.frames(); !c.Usable() { // pings
			t.Error("closed too early")
		}
		time.Sleep(time.Nanosecond)
		p.expect("GOAWAY NO_ERROR", "closed")
	})
}

// A write that the other side does not take ends the connection.
func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		c, p := connect(t, cfg)
		p.greet()
		p.stop.Store(true)
		p.must(p.fr.WritePing(false, [8]byte{})) // the last frame that is read is its answer
		synctest.Wait()
		start := time.Now()
		c.Ask(make([]byte, 5))
		e := c.Ask(nil)
		<-e.Done()
		if _, err := e.Result(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != cfg.WriteTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
