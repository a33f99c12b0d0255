package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tillgate/decision"
	"tillgate/policy"
)

var quiet = slog.New(slog.DiscardHandler)

// serveWeb starts a console with a page; its addresses are those of cfg.Web.Listen in turn.
func serveWeb(t *testing.T, cfg Config) (*Console, []netip.AddrPort) {
	t.Helper()
	cfg.Socket = filepath.Join(shortDir(t), "s")
	cfg.Log = quiet
	if cfg.Status == nil {
		cfg.Status = func() Status { return Status{Version: "v1"} }
	}
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return time.Time{} }
	}
	if cfg.Web.Record == nil {
		cfg.Web.Record = func(decision.Record) {}
	}
	if cfg.Web.Decided == nil {
		cfg.Web.Decided = func() []decision.Decided { return nil }
	}
	if cfg.Web.State == "" {
		cfg.Web.State = t.TempDir()
	}
	cfg.Web.Page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the page") })
	c := New(cfg)
	if err := c.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.ListenWeb(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving ended with %v", err)
		}
	})
	return c, c.Addrs()
}

// fetch sends a request to an address, with headers as "Name: value".
func fetch(t *testing.T, method string, at netip.AddrPort, target, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+at.String()+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestWeb(t *testing.T) {
	c, at := serveWeb(t, Config{Web: WebConfig{Listen: []string{"127.0.0.1:0", "[::1]:0"}}})
	if len(at) != 2 {
		t.Fatalf("bound %v", at)
	}
	if h := c.Health(); h.State != 0 || h.Text != fmt.Sprintf("http://%v; http://%v", at[0], at[1]) {
		t.Errorf("health: %+v", h)
	}
	for _, at := range at {
		resp, text := fetch(t, "GET", at, "/", "")
		if text != "the page" || resp.Header.Get("Content-Security-Policy") != contentPolicy || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("the page: %q, %v", text, resp.Header)
		}
		resp, text = fetch(t, "GET", at, "/v1/status", "")
		if !strings.HasPrefix(text, `{"version":"v1"`) || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("the API: %q, %v", text, resp.Header)
		}
	}
}

// A browser that was led to the box by a page of somebody else tells so, and is refused.
func TestGuard(t *testing.T) {
	_, at := serveWeb(t, Config{Web: WebConfig{Listen: []string{"127.0.0.1:0"}}})
	for _, tt := range []struct {
		name, method, target string
		headers              []string
		status               int
	}{
		{"by name", "GET", "/v1/status", []string{"Host: localhost:8053"}, 200},
		{"by ssh -L", "GET", "/v1/status", []string{"Host: 127.0.0.1:9001"}, 200},
		{"of IPv6", "GET", "/v1/status", []string{"Host: [::1]:8053"}, 200},
		{"of IPv6 without a port", "GET", "/v1/status", []string{"Host: [::1]"}, 200},
		{"without a port", "GET", "/v1/status", []string{"Host: LOCALHOST"}, 200},
		{"a name led here", "GET", "/v1/status", []string{"Host: rebind.example:8053"}, 421},
		{"a name led here, the page", "GET", "/", []string{"Host: rebind.example"}, 421},
		{"a name below", "GET", "/", []string{"Host: localhost.rebind.example"}, 421},
		{"another address", "GET", "/", []string{"Host: 192.0.2.1:8053"}, 421},
		{"no address", "GET", "/", []string{"Host: 0.0.0.0:8053"}, 421},
		{"the box's name, which leads to its other addresses", "GET", "/", []string{"Host: tillgate.internal:8053"}, 421},
		{"its own page", "GET", "/v1/status", []string{"Sec-Fetch-Site: same-origin"}, 200},
		{"a link to the page", "GET", "/", []string{"Sec-Fetch-Site: cross-site"}, 200},
		{"another page reads", "GET", "/v1/status", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"another port's page reads", "GET", "/v1/status", []string{"Sec-Fetch-Site: same-site"}, 403},
		{"another page posts", "POST", "/v1/observe", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"another page posts, by an old browser", "POST", "/v1/observe", []string{"Origin: https://evil.example"}, 403},
	} {
		resp, text := fetch(t, tt.method, at[0], tt.target, "", tt.headers...)
		if resp.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d\n%s", tt.name, resp.StatusCode, tt.status, text)
		}
		if resp.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: no Content-Security-Policy", tt.name)
		}
	}
}

// Without a password nobody changes anything by TCP, not even who sits at the box.
func TestWebLooksOnly(t *testing.T) {
	_, at := serveWeb(t, Config{
		Observe: func(context.Context, policy.ObserveRequest) (policy.Observation, error) {
			t.Error("it was done")
			return policy.Observation{}, nil
		},
		Web: WebConfig{Listen: []string{"127.0.0.1:0"}},
	})
	if resp, _ := fetch(t, "POST", at[0], "/v1/observe", `{"class": "pos", "for": "2h", "reason": "a test"}`); resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// What others than the machine could reach is not bound without a password.
func TestWebNotBound(t *testing.T) {
	c, at := serveWeb(t, Config{Web: WebConfig{Listen: []string{"0.0.0.0:0", "127.0.0.1:0"}}})
	if len(at) != 1 || !at[0].Addr().IsLoopback() {
		t.Errorf("bound %v", at)
	}
	if h := c.Health(); h.State.String() != "bad" || !strings.Contains(h.Text, "0.0.0.0:0") {
		t.Errorf("health: %+v", h)
	}
}

func TestWebNone(t *testing.T) {
	c, at := serveWeb(t, Config{})
	if h := c.Health(); len(at) != 0 || h.State != 0 || h.Text != "turned off: listen.console is empty" {
		t.Errorf("bound %v; health: %+v", at, h)
	}
}

// If one address is taken, none is bound.
func TestWebTaken(t *testing.T) {
	taken := httptest.NewServer(nil)
	defer taken.Close()
	c := New(Config{Web: WebConfig{State: t.TempDir(), Listen: []string{"127.0.0.1:0", taken.Listener.Addr().String()}}})
	err := c.ListenWeb(t.Context())
	var op *net.OpError
	if !errors.As(err, &op) || op.Addr.String() != taken.Listener.Addr().String() || len(c.Addrs()) != 0 {
		t.Errorf("%v; bound %v", err, c.Addrs())
	}
}

func TestDoorAdmits(t *testing.T) {
	for _, tt := range []struct {
		admin, from string
		want        bool
	}{
		{"", "127.0.0.1", true},
		{"", "::1", true},
		{"", "10.20.9.5", true},
		{"", "fd00::5", true},
		{"", "fe80::5", true},
		{"", "100.64.0.9", true},
		{"", "8.8.8.8", false},
		{"", "2002:808:808::1", false},   // 6to4: anybody
		{"", "2001:0:808:808::1", false}, // Teredo: anybody
		{"", "64:ff9b::a14:905", false},  // whom a translator speaks for
		{"", "64:ff9b:1:808:8:800::", false},
		{"", "2001:4860:4860::8888", false},
		{"2001:4860::/32", "2001:4860:4860::8888", true},
		{"2001:4860::/32", "10.20.9.5", false},
		{"10.20.9.0/24", "10.20.9.5", true},
		{"10.20.9.0/24", "10.20.1.5", false},
		{"10.20.9.0/24", "127.0.0.1", true},
	} {
		var admin []netip.Prefix
		if tt.admin != "" {
			admin = append(admin, netip.MustParsePrefix(tt.admin))
		}
		if got := newDoor(admin).admits(netip.MustParseAddr(tt.from)); got != tt.want {
			t.Errorf("admin %q: %s: %v, want %v", tt.admin, tt.from, got, tt.want)
		}
	}
}

// The interface that a link-local address is at is no part of it for networks and records.
func TestZones(t *testing.T) {
	want := netip.MustParseAddr("fe80::5")
	if got := addrOf(&net.TCPAddr{IP: net.ParseIP("fe80::5"), Zone: "eth0"}); got != want {
		t.Errorf("of a connection: %v", got)
	}
	if got := clientOf(&http.Request{RemoteAddr: "[fe80::5%eth0]:4711"}); got != want {
		t.Errorf("of a request: %v", got)
	}
}

func TestDoorBounds(t *testing.T) {
	d := newDoor(nil)
	var inside []netip.Prefix
	fill := func(a string) (n int) {
		for {
			who, ok := d.enter(netip.MustParseAddr(a))
			if !ok {
				return n
			}
			inside = append(inside, who)
			n++
		}
	}
	for _, tt := range []struct {
		from string
		want int
	}{
		{"10.0.0.1", maxVisitorEach},
		{"fd00::1", maxVisitorEach},
		{"fd00::2", 0}, // the same network
		{"fd00:0:0:1::1", maxVisitorEach},
		{"10.0.0.2", maxVisitors - 3*maxVisitorEach},
		{"10.0.0.3", 0},
		{"127.0.0.1", maxLocal},
		{"::1", 0},
	} {
		if got := fill(tt.from); got != tt.want {
			t.Errorf("%s: %d got in, want %d", tt.from, got, tt.want)
		}
	}
	for _, who := range inside {
		d.leave(who)
	}
	if d.total != 0 || len(d.inside) != 0 {
		t.Errorf("all have left: %d, %v", d.total, d.inside)
	}
}

// A password that is set before the console serves opens the other addresses at once, and one
// that is set after opens nothing.
func TestPasswordBeforeServing(t *testing.T) {
	c := New(Config{Socket: filepath.Join(shortDir(t), "s"), Log: quiet,
		Web: WebConfig{Listen: []string{"0.0.0.0:0"}, State: t.TempDir()}})
	if err := c.ListenWeb(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.web.setPassword(quick("correct horse")); err != nil {
		t.Fatal(err)
	}
	if at := c.Addrs(); len(at) != 1 {
		t.Errorf("before: bound to %v", at)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := c.web.serve(ctx, http.NotFoundHandler()); err != nil {
		t.Error(err)
	}
	if err := c.web.setPassword(quick("battery staple")); err != nil {
		t.Fatal(err)
	}
	if at := c.Addrs(); len(at) != 0 {
		t.Errorf("after: bound to %v", at)
	}
}
