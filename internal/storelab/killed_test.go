package storelab

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A test that is killed runs no cleanup: the kernel has to end what it started.
func TestNothingOutlivesAKilledTest(t *testing.T) {
	if os.Getenv("STORELAB_VICTIM") != "" {
		s := New(t, Config{})
		box := s.Box.Start(t)
		sleep := s.Terminal(t, "pos").Start(t, "sleep", "1000")
		fmt.Println("pids", box.Pid(), s.Upstream.process.Pid(), sleep.Pid(), s.dir)
		select {}
	}
	NeedStore(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.Command(self, "-test.run=^"+t.Name()+"$")
	victim.Env = append(os.Environ(), "STORELAB_VICTIM=1")
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer victim.Process.Kill()

	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "pids ") {
	}
	f := strings.Fields(lines.Text())
	if len(f) != 5 {
		t.Fatalf("the victim said %q", lines.Text())
	}
	defer os.RemoveAll(f[4])
	var waits []unix.PollFd
	for _, s := range f[1:4] {
		pid, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatalf("process %d: %v", pid, err)
		}
		defer unix.Close(fd)
		waits = append(waits, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	victim.Process.Kill()
	victim.Wait()
	for i := range waits {
		// A process that ended can be read; 10 s is as long as nobody waits.
		if n, err := unix.Poll(waits[i:i+1], 10_000); n != 1 {
			t.Errorf("process %s lives on: %d, %v", f[i+1], n, err)
		}
	}
}
