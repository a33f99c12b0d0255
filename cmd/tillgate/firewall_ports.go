package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// classDevices is where Linux shows the machine's interfaces.
const classDevices = "/sys/class/net"

// bridgePorts tells of interfaces that are ports of a bridge: what comes in by one is the bridge's
// when the rules see it, so that rules by the port's name stop nothing; and of those that are not
// there, as they may be misspelled.
func bridgePorts(devices string, interfaces []string) (gaps []string) {
	for _, name := range interfaces {
		if _, err := os.Stat(filepath.Join(devices, name)); errors.Is(err, fs.ErrNotExist) {
			gaps = append(gaps, fmt.Sprintf("the interface %s is not there (yet): its rules wait for it; ip -br link lists those of this machine", name))
			continue
		}
		if _, err := os.Stat(filepath.Join(devices, name, "brport")); err != nil {
			continue
		}
		bridge := "the bridge"
		if to, err := os.Readlink(filepath.Join(devices, name, "master")); err == nil {
			bridge = filepath.Base(to)
		}
		gaps = append(gaps, fmt.Sprintf("the interface %s is a port of %s: what comes in by it is not judged as its class's; name %s in its place", name, bridge, bridge))
	}
	return gaps
}
