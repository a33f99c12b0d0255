package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// taken binds a port of 127.0.0.1, and returns the error of who comes second.
func taken(t *testing.T, network string) (addr string, inode uint64, second error) {
	t.Helper()
	var file *os.File
	switch network {
	case "udp4":
		conn, err := net.ListenUDP(network, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		addr = conn.LocalAddr().String()
		_, second = net.ListenPacket(network, addr)
		file, err = conn.File()
		if err != nil {
			t.Fatal(err)
		}
	case "tcp4":
		l, err := net.ListenTCP(network, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		addr = l.Addr().String()
		_, second = net.Listen(network, addr)
		file, err = l.File()
		if err != nil {
			t.Fatal(err)
		}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return addr, info.Sys().(*syscall.Stat_t).Ino, second
}

// fakeProc is a /proc with this machine's real tables of sockets and one
// process, which holds a socket; inode 0 is no process at all, as for a user who
// may not see it.
func fakeProc(t *testing.T, comm string, inode uint64) string {
	t.Helper()
	proc := t.TempDir()
	if err := os.Symlink("/proc/net", filepath.Join(proc, "net")); err != nil {
		t.Fatal(err)
	}
	if inode == 0 {
		return proc
	}
	fds := filepath.Join(proc, "4242", "fd")
	if err := os.MkdirAll(fds, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(fmt.Sprintf("socket:[%d]", inode), filepath.Join(fds, "7")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(proc, "4242", "comm"), []byte(comm+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return proc
}

// comm is what the kernel calls this process.
func comm(t *testing.T) string {
	t.Helper()
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(name))
}

func TestBindInUse(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp4", "tcp4"} {
		addr, inode, second := taken(t, network)
		_, port, _ := net.SplitHostPort(addr)
		protocol := network[:3]
		list := map[string]string{"udp": "ss -lunp", "tcp": "ss -ltnp"}[protocol]
		begin := "listening on " + addr + " " + protocol + ": "
		for _, tt := range []struct{ name, proc, want string }{
			{"visible", fakeProc(t, "bind9", inode),
				begin + "the port is held by bind9 (process 4242) at " + addr + "; stop it, or give listen.dns another address"},
			{"dnsmasq", fakeProc(t, "dnsmasq", inode),
				begin + "the port is held by dnsmasq (process 4242) at " + addr + "; stop it (systemctl disable --now dnsmasq), " +
					"or where it is needed for DHCP take its DNS away (port=0 in its configuration), " +
					`or listen on the terminals' addresses alone, for instance listen.dns: ["10.20.0.1:53"]`},
			{"resolved", fakeProc(t, "systemd-resolve", inode),
				begin + "the port is held by systemd-resolve (process 4242) at " + addr + "; it is systemd-resolved's stub: turn that off " +
					"(DNSStubListener=no below [Resolve] in /etc/systemd/resolved.conf.d/tillgate.conf, then systemctl restart systemd-resolved), " +
					`or listen on the terminals' addresses alone, for instance listen.dns: ["10.20.0.1:53"]`},
			{"tillgate", fakeProc(t, "tillgate", inode),
				begin + "the port is held by tillgate (process 4242) at " + addr + "; it is another tillgate: stop it (systemctl stop tillgate, or kill 4242)"},
			{"hidden", fakeProc(t, "", 0),
				begin + "the port is held by a process of " + me.Username + " (uid " + me.Uid + ") at " + addr +
					"; sudo " + list + " 'sport = :" + port + "' names it: stop it, or give listen.dns another address"},
			{"no tables", t.TempDir(),
				begin + "the port is taken; sudo " + list + " 'sport = :" + port + "' names the process: stop it, or give listen.dns another address"},
			{"the real table", "/proc", begin + "the port is held by " + comm(t) + " (process " + strconv.Itoa(os.Getpid()) + ") at " + addr +
				"; stop it, or give listen.dns another address"},
		} {
			if got := explainBind("listen.dns", second, tt.proc).Error(); got != tt.want {
				t.Errorf("%s, %s:\n got %s\nwant %s", network, tt.name, got, tt.want)
			}
		}
		// With run --loopback no key has a say.
		want := begin + "the port is held by dnsmasq (process 4242) at " + addr + "; stop it: the ports of --loopback are fixed"
		if got := explainBind("", second, fakeProc(t, "dnsmasq", inode)).Error(); got != want {
			t.Errorf("%s, of --loopback:\n got %s\nwant %s", network, got, want)
		}
	}
}

// Where all addresses are asked for, any of them stands in the way.
func TestBindAllAddresses(t *testing.T) {
	addr, _, _ := taken(t, "udp4")
	_, port, _ := net.SplitHostPort(addr)
	_, err := net.ListenPacket("udp4", ":"+port)
	if err == nil {
		t.Fatal("two sockets have one port")
	}
	got := explainBind("listen.dns", err, fakeProc(t, "", 0)).Error()
	if !strings.Contains(got, "at "+addr+";") {
		t.Errorf("%s\ndoes not name %s", got, addr)
	}
}

func TestBindOtherErrors(t *testing.T) {
	listen := func(errno syscall.Errno) error {
		return fmt.Errorf("wrapped: %w", &net.OpError{
			Op: "listen", Net: "udp4", Addr: &net.UDPAddr{IP: net.IPv4(10, 20, 0, 1), Port: 53},
			Err: os.NewSyscallError("bind", errno),
		})
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{listen(syscall.EACCES), "listening on 10.20.0.1:53 udp: this user (uid " + strconv.Itoa(os.Geteuid()) +
			") may not use ports below 1024, which takes CAP_NET_BIND_SERVICE; start it by its systemd unit (systemctl start tillgate), " +
			"give the program the capability (sudo setcap cap_net_bind_service=+ep " + program + "), or try it without rights: tillgate run --loopback"},
		{listen(syscall.EADDRNOTAVAIL), "listening on 10.20.0.1:53 udp: this machine does not have that address; " +
			"ip address lists those that it has: correct listen.dns, or bring the interface up first"},
		{listen(syscall.ENOBUFS), "listening on 10.20.0.1:53 udp: wrapped: listen udp4 10.20.0.1:53: bind: no buffer space available; correct listen.dns"},
		{errors.New("odd"), "listening: odd"},
	} {
		if got := explainBind("listen.dns", tt.err, "/proc").Error(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// The kernel says the same as the cases above: an address of nobody's
// (RFC 5737), and a low port without the right to it.
func TestBindErrorsOfTheKernel(t *testing.T) {
	_, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp4", "192.0.2.1:0")
	if !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("an address that is not there: %v", err)
	}
	// Root may use every port, so this thread has no rights from here on. It ends with the
	// test's goroutine, being locked to it.
	runtime.LockOSThread()
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Listen("tcp4", "127.0.0.1:1"); !errors.Is(err, syscall.EACCES) {
		t.Errorf("a low port: %v", err)
	}
}

func TestParseKernelAddr(t *testing.T) {
	// What the kernel of a little-endian machine writes.
	for text, want := range map[string]string{
		"0100007F:0035":                         "127.0.0.1:53",
		"00000000:14B4":                         "0.0.0.0:5300",
		"00000000000000000000000001000000:0035": "[::1]:53",
		"B80D0120000000000000000001000000:0035": "[2001:db8::1]:53",
		"0000000000000000FFFF00003500007F:0035": "[::ffff:127.0.0.53]:53",
	} {
		if got, ok := parseKernelAddr(text); !ok || got != netip.MustParseAddrPort(want) {
			t.Errorf("%s is %v (%v), want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "0100007F", "0100007F:", "0100007F:10035", "01007F:0035", "xx:0035", "01000000:0035:1"} {
		if got, ok := parseKernelAddr(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func FuzzParseKernelAddr(f *testing.F) {
	f.Add("0100007F:0035")
	f.Fuzz(func(t *testing.T, text string) {
		if a, ok := parseKernelAddr(text); ok && !a.IsValid() {
			t.Errorf("%q is %v", text, a)
		}
	})
}
