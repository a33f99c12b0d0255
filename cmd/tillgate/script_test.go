package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"tillgate/console"
)

// TestMain lets the test binary be the program: under the name tillgate it is.
func TestMain(m *testing.M) {
	syscall.Umask(0o022) // a configuration that the group can write is refused
	testscript.Main(m, map[string]func(){"tillgate": mainWithoutLeaks})
}

// patience bounds every wait of a script for something that is to happen.
const patience = 30 * time.Second

// TestScripts runs the command line as a user does. Each script has a box of
// its own, whose upstream is a DoH server of the test's.
func TestScripts(t *testing.T) {
	ca := newTestCA(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			doh, silent := startDoH(t, ca), startSilent(t)
			env.Setenv(labTimePort, strconv.Itoa(int(serveTime(t))))
			s := &script{}
			env.Values[scriptKey{}] = s
			env.Defer(s.end)
			for variable, value := range map[string]string{
				"HOME":                    "$WORK/home",
				"XDG_STATE_HOME":          "$WORK/home/state",
				"XDG_RUNTIME_DIR":         "",
				"CONFIGURATION_DIRECTORY": "$WORK/etc",
				"STATE_DIRECTORY":         "$WORK/var",
				"RUNTIME_DIRECTORY":       "$WORK/run",
				"NOTIFY_SOCKET":           "$WORK/notify",
				"SSL_CERT_FILE":           ca.file,
				"TZ":                      "UTC",
			} {
				env.Setenv(variable, strings.ReplaceAll(value, "$WORK", env.WorkDir))
			}
			var err error
			s.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: env.Getenv("NOTIFY_SOCKET"), Net: "unixgram"})
			if err != nil {
				return err
			}
			for folder, url := range map[string]string{"etc": doh, "silent": silent} {
				text := fmt.Sprintf("listen: {dns: [LISTEN], proxy: [\"127.0.0.1:0\"], intercept: [\"127.0.0.1:0\"], ntp: [\"127.0.0.1:0\"], console: [\"127.0.0.1:0\"]}\nupstream: {url: %q, addresses: [127.0.0.1], timeout: %v}\n", url, maxUpstreamTimeout)
				if err := writeMissing(filepath.Join(env.WorkDir, folder, settingsFile), text); err != nil {
					return err
				}
			}
			return chooseAddrs(t, env.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":    cmdStart,
			"ended":    cmdEnded,
			"signal":   cmdSignal,
			"notified": cmdNotified,
			"dig":      cmdDig,
			"send":     cmdSend,
			"say":      cmdSay,
			"web":      cmdWeb,
			"code":     cmdCode,
			"follow":   cmdFollow,
			"line":     cmdLine,
			"until":    cmdUntil,
			"port":     cmdPort,
		},
	})
}

// writeMissing writes a file, unless a script brings its own.
func writeMissing(file, text string) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// chooseAddrs puts an address that is free for LISTEN in every tillgate.yaml.
func chooseAddrs(t *testing.T, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*", settingsFile))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		chosen := strings.ReplaceAll(string(text), "LISTEN", strconv.Quote(freeAddr(t)))
		if !strings.Contains(chosen, "\ntime:") {
			chosen += "time: {servers: [127.0.0.1]}\n" // see serveTime
		}
		if err := os.WriteFile(file, []byte(chosen), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// freeAddr is an address of the loopback that is free for UDP and TCP. Its port
// is below those that the kernel gives to connections: of a port that it chose
// itself for one protocol, the other may be taken.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		conn, err := net.ListenPacket("udp4", addr)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp4", addr)
		conn.Close()
		if err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// A script's state.
type script struct {
	notify  *net.UnixConn
	box     *exec.Cmd
	exited  chan error
	follow  *exec.Cmd
	lines   *bufio.Scanner
	pending func() // ends what follow has started
}

type scriptKey struct{}

func of(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

// end leaves nothing behind of a script that failed.
func (s *script) end() {
	if s.box != nil {
		s.box.Process.Kill()
		<-s.exited
	}
	if s.pending != nil {
		s.pending()
	}
	s.notify.Close()
}

// command is the program with a script's environment.
func command(ts *testscript.TestScript, args ...string) *exec.Cmd {
	path, err := exec.LookPath("tillgate")
	ts.Check(err)
	cmd := exec.Command(path, args...)
	cmd.Dir = ts.MkAbs(".")
	for _, v := range []string{"HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "CONFIGURATION_DIRECTORY", "STATE_DIRECTORY",
		"RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "SSL_CERT_FILE", "TZ", "WATCHDOG_USEC", labTimePort} {
		cmd.Env = append(cmd.Env, v+"="+ts.Getenv(v))
	}
	return cmd
}

// start [ARG...]: tillgate run, until it says that it is ready. What it prints is in box.log.
// awaitStatus waits until the box, if it is where boxes are, has such a status.
func awaitStatus(ts *testscript.TestScript, as func(console.Status) bool) {
	c := console.NewClient(ts.MkAbs(filepath.Join("run", socketName)))
	for end := time.Now().Add(patience); ; {
		status, err := c.Status(context.Background())
		if err != nil || as(status) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("the status is still %+v", status)
		}
	}
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if s.box != nil || neg {
		ts.Fatalf("one box at a time, and it must start")
	}
	cmd := command(ts, append([]string{"run"}, args...)...)
	log, err := os.OpenFile(ts.MkAbs("box.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	ts.Check(err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	ts.Check(cmd.Start())
	s.box, s.exited = cmd, make(chan error, 1)
	exited := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		exited <- err
		s.exited <- err
	}()
	ready := make(chan error, 1)
	go func() { ready <- s.heard("READY=1") }()
	select {
	case err = <-ready:
	case err = <-exited:
		s.box = nil
		s.notify.SetReadDeadline(time.Unix(0, 1))
		<-ready
		err = fmt.Errorf("it ended: %v", err)
	}
	if err != nil {
		ts.Fatalf("the box did not get ready: %v\n%s", err, ts.ReadFile("box.log"))
	}
	awaitStatus(ts, func(s console.Status) bool { return s.Time.Level == "fine" })
}

// heard waits until the box says something to systemd.
func (s *script) heard(what string) error {
	s.notify.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 4096)
	for {
		n, err := s.notify.Read(buf)
		if err != nil {
			return fmt.Errorf("waiting to hear %s: %w", what, err)
		}
		for line := range strings.Lines(string(buf[:n])) {
			if strings.HasPrefix(line, what) {
				return nil
			}
		}
	}
}

// notified TEXT: waits until the box tells systemd a line that begins so.
func cmdNotified(ts *testscript.TestScript, _ bool, args []string) { ts.Check(of(ts).heard(args[0])) }

// signal NAME: to the box.
func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	ts.Check(of(ts).box.Process.Signal(signals[args[0]]))
}

// ended STATUS: waits for the box to end, -1 being by a signal.
func cmdEnded(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	select {
	case <-s.exited:
	case <-time.After(patience):
		ts.Fatalf("the box does not end")
	}
	got := strconv.Itoa(s.box.ProcessState.ExitCode())
	s.box = nil
	if got != args[0] {
		ts.Fatalf("the box ended with status %s, want %s\n%s", got, args[0], ts.ReadFile("box.log"))
	}
}

// dig NAME TYPE [udp|tcp]: the box's answer, as its rcode, what it says of an
// error and the addresses.
func cmdDig(ts *testscript.TestScript, _ bool, args []string) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(args[0]), dns.StringToType[args[1]])
	m.SetEdns0(1232, false)
	c := dns.Client{Timeout: patience}
	if len(args) > 2 {
		c.Net = args[2]
	}
	reply, _, err := c.Exchange(m, listenerOf(ts, "dns"))
	ts.Check(err)
	words := []string{dns.RcodeToString[reply.Rcode]}
	for _, o := range reply.IsEdns0().Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok {
			words = append(words, fmt.Sprintf("EDE %d", e.InfoCode))
		}
	}
	for _, rr := range reply.Answer {
		if a, ok := rr.(*dns.A); ok {
			words = append(words, a.A.String())
		}
	}
	fmt.Fprintln(ts.Stdout(), strings.Join(words, " "))
}

// send NAME TYPE: a query whose answer nobody waits for. When it returns, the box does.
func cmdSend(ts *testscript.TestScript, _ bool, args []string) {
	wire, err := new(dns.Msg).SetQuestion(dns.Fqdn(args[0]), dns.StringToType[args[1]]).Pack()
	ts.Check(err)
	conn, err := net.Dial("udp", listenerOf(ts, "dns"))
	ts.Check(err)
	defer conn.Close()
	_, err = conn.Write(wire)
	ts.Check(err)
	awaitStatus(ts, func(s console.Status) bool { return s.DNS.Waiting > 0 })
}

// say LISTENER TEXT: prints what the box answers there until it has no more to say, be
// that a reset. The text has the escapes of Go.
func cmdSay(ts *testscript.TestScript, _ bool, args []string) {
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	answer, err := exchange(listenerOf(ts, args[0]), text)
	if !errors.Is(err, syscall.ECONNRESET) {
		ts.Check(err)
	}
	fmt.Fprintf(ts.Stdout(), "%s\n", answer)
}

// web METHOD TARGET [BODY]: asks the console as a browser would.
func cmdWeb(ts *testscript.TestScript, _ bool, args []string) {
	var body io.Reader
	if len(args) > 2 {
		body = strings.NewReader(args[2])
	}
	r, err := http.NewRequest(args[0], "http://"+listenerOf(ts, "console")+args[1], body)
	ts.Check(err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultTransport.RoundTrip(r)
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d %s\n", resp.StatusCode, text)
}

func exchange(addr, text string) (answer []byte, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}

// listenerOf is the first address of a listener, by its key.
func listenerOf(ts *testscript.TestScript, name string) string {
	status, err := console.NewClient(filepath.Join(ts.Getenv("RUNTIME_DIRECTORY"), socketName)).Status(context.Background())
	ts.Check(err)
	for _, l := range status.Listen {
		if l.Name == name {
			return l.Addr.String()
		}
	}
	ts.Fatalf("the box has no listener %s", name)
	return ""
}

// port LISTENER FILE: writes a tillgate.yaml that listens where that of the box does,
// and for the rest at ports of its own.
func cmdPort(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[1])
	listen := fmt.Sprintf("listen:\n  %s: [%q]\n", args[0], listenerOf(ts, args[0]))
	for _, name := range []string{"dns", "proxy", "intercept", "ntp", "console"} {
		if name != args[0] {
			listen += fmt.Sprintf("  %s: [\"127.0.0.1:0\"]\n", name)
		}
	}
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
	ts.Check(os.WriteFile(file, []byte(listen), 0o644))
}

// code STATUS COMMAND [ARG...]: exec, with that exit status.
func cmdCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("status %d, want %s", got, args[0])
	}
}

// follow [ARG...]: tillgate log -f, whose lines line waits for. The one before ends.
func cmdFollow(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	if s.pending != nil {
		s.pending()
	}
	cmd := command(ts, append([]string{"log", "-f"}, args...)...)
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	ts.Check(cmd.Start())
	go func() {
		cmd.Wait()
		in.Close()
	}()
	s.follow, s.lines = cmd, bufio.NewScanner(out)
	s.pending = func() {
		cmd.Process.Kill()
		io.Copy(io.Discard, out)
	}
}

// line REGEXP: waits for the line that follow writes next, which must match.
func cmdLine(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	bound := time.AfterFunc(patience, func() { s.follow.Process.Kill() })
	defer bound.Stop()
	if !s.lines.Scan() {
		ts.Fatalf("the log ended, before a line with %s", args[0])
	}
	if got := s.lines.Text(); !regexp.MustCompile(args[0]).MatchString(got) {
		ts.Fatalf("the next line is\n%s\nwant %s", got, args[0])
	}
}

// until REGEXP COMMAND [ARG...]: exec until its output matches, whatever the status.
func cmdUntil(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	for end := time.Now().Add(patience); ; {
		ts.Exec(args[1], args[2:]...)
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("no %s within %v", args[0], patience)
		}
	}
}
