package storelab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain is the box when the lab starts this binary as the box.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "tillgate" {
		os.Exit(fakeBox())
	}
	os.Exit(m.Run())
}

// fakeBox binds the DNS port, says who it is, and is ready. It answers each
// datagram with the datagram, and ends with status 3 on SIGTERM.
func fakeBox() int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	p, err := net.ListenPacket("udp", ":53")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			p.WriteTo(buf[:n], from)
		}
	}()
	fmt.Printf("uid %d arguments %q folders %s\n", os.Getuid(), os.Args[1:], os.Getenv("STATE_DIRECTORY"))
	c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Fprint(c, "STATUS=up\nREADY=1\n")
	<-stop
	return 3
}

func TestHostsReachTheBox(t *testing.T) {
	s := New(t, Config{})
	s.Box.Start(t)
	for _, n := range []string{"sunmi", "pos", "pc", "guest"} {
		for range 2 {
			till := s.Terminal(t, n)
			for _, box := range []netip.Addr{till.Box4, till.Box6} {
				if got := echo(t, till.Host, netip.AddrPortFrom(box, 53)); got != "are you there" {
					t.Errorf("%s heard %q from %v", till.Name, got, box)
				}
			}
		}
	}
}

func TestTerminalsOfANetworkReachEachOther(t *testing.T) {
	s := New(t, Config{})
	a, b := s.Terminal(t, "pos"), s.Terminal(t, "pos")
	p := listen(t, b.Host)
	send(t, a.Host, netip.AddrPortFrom(b.Addr4, 9), "hello")
	if from, text := receive(t, p); from != a.Addr4 || text != "hello" {
		t.Errorf("heard %q from %v, want it from %v", text, from, a.Addr4)
	}
}

// The order in which datagrams arrive says what was dropped, without waiting
// for what must not come.
func TestTerminalsDoNotReachTheInternet(t *testing.T) {
	s := New(t, Config{Names: []string{"api.eu.sunmi.com"}})
	a4, a6 := s.Internet.Addr(t, "api.eu.sunmi.com")
	p := listen(t, s.Internet.Host)
	till := s.Terminal(t, "sunmi")
	for _, outside := range []netip.Addr{a4, a6} {
		to := netip.AddrPortFrom(outside, 9)
		send(t, till.Host, to, "past the box")
		send(t, s.Box.Host, to, "from the box")
		if _, text := receive(t, p); text != "from the box" {
			t.Errorf("%v heard %q first", outside, text)
		}
	}
	// And that it would have come, if the box forwarded.
	err := s.Box.Do(func() error {
		return errors.Join(
			os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, outside := range []netip.Addr{a4, a6} {
		send(t, till.Host, netip.AddrPortFrom(outside, 9), "through the box")
		if _, text := receive(t, p); text != "through the box" {
			t.Errorf("%v heard %q", outside, text)
		}
	}
}

func TestBlackHole(t *testing.T) {
	s := New(t, Config{})
	p := listen(t, s.Internet.Host)
	to := func(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, 9) }
	google4, other4, google6, other6 := google[0], google[1], google[2], google[3]

	s.Internet.BlackHole(t, google4, google6)
	for _, pair := range [][2]netip.Addr{{google4, other4}, {google6, other6}} {
		send(t, s.Box.Host, to(pair[0]), "into the dark")
		send(t, s.Box.Host, to(pair[1]), "into the light")
		if _, text := receive(t, p); text != "into the light" {
			t.Errorf("%v heard %q", pair, text)
		}
	}
	s.Internet.Heal(t)
	for _, a := range google {
		send(t, s.Box.Host, to(a), "again")
		if _, text := receive(t, p); text != "again" {
			t.Errorf("%v heard %q", a, text)
		}
	}
}

func TestBox(t *testing.T) {
	s := New(t, Config{})
	box := s.Box.Start(t, "--some", "argument")
	if status := box.Stop(t); status != 3 {
		t.Errorf("the box ended with status %d, want 3", status)
	}
	want := fmt.Sprintf("uid 65534 arguments [\"run\" \"--some\" \"argument\"] folders %s\n", s.Box.State)
	if got := box.Output(); got != want {
		t.Errorf("the box says %q, want %q", got, want)
	}
	again := s.Box.Start(t)
	again.Kill()
	if status := again.Status(); status != -1 {
		t.Errorf("a killed box ended with status %d", status)
	}

	s.Box.Write(t, "packs/acme.yaml", "pack: acme\n")
	if got, err := os.ReadFile(filepath.Join(s.Box.Config, "packs/acme.yaml")); err != nil || string(got) != "pack: acme\n" {
		t.Errorf("the configuration holds %q, %v", got, err)
	}
}

func TestTerminalsAreBounded(t *testing.T) {
	s := &Store{taken: map[string]int{"pos": maxTerminals}}
	if _, err := s.terminal("pos"); err == nil || err.Error() != "pos has 200 terminals already" {
		t.Errorf("the error is %v", err)
	}
	if _, err := s.terminal("attic"); err == nil || err.Error() != `the store has no network "attic"` {
		t.Errorf("the error is %v", err)
	}
}

func TestTerminalAsksTheBoxByDefault(t *testing.T) {
	s := New(t, Config{})
	till := s.Terminal(t, "pc")
	got, err := till.Run(t.Context(), "cat", "/etc/resolv.conf")
	if want := "nameserver 10.20.9.1\nnameserver fd10:20:9::1\n"; err != nil || got != want {
		t.Errorf("resolv.conf is %q, %v; want %q", got, err, want)
	}
}

func TestRunSaysWhatWentWrong(t *testing.T) {
	s := New(t, Config{})
	_, err := s.Terminal(t, "pos").Run(t.Context(), "sh", "-c", "echo because >&2; exit 7")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || !strings.Contains(err.Error(), "because") {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Box.Run(ctx, "sleep", "1000"); !errors.Is(err, context.Canceled) {
		t.Errorf("the error of a cancelled run is %v", err)
	}
}

func TestDialTakesNoNames(t *testing.T) {
	s := New(t, Config{})
	if _, err := s.Box.Dial(t.Context(), "tcp", "dns.google:443"); err == nil || !strings.Contains(err.Error(), "dialling from box") {
		t.Errorf("the error is %v", err)
	}
}

func listen(t *testing.T, h *Host) net.PacketConn {
	t.Helper()
	p, err := h.ListenPacket(t.Context(), "udp", "[::]:9")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func receive(t *testing.T, p net.PacketConn) (netip.Addr, string) {
	t.Helper()
	buf := make([]byte, 512)
	n, from, err := p.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	return from.(*net.UDPAddr).AddrPort().Addr().Unmap(), string(buf[:n])
}

func send(t *testing.T, h *Host, to netip.AddrPort, text string) {
	t.Helper()
	c, err := h.Dial(t.Context(), "udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func echo(t *testing.T, h *Host, to netip.AddrPort) string {
	t.Helper()
	c, err := h.Dial(t.Context(), "udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("are you there")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}
