package firewall

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// replace is what a table's text begins with, so that loading it takes the place of what
// is there, in one step; by itself it removes that.
const replace = "table " + Family + " " + Table + " {}\ndelete table " + Family + " " + Table + "\n"

// errNoNFT is a machine without nft.
var errNoNFT = errors.New("the program nft is not there; install the package nftables")

// nft runs the program to its end, and returns what it prints. Its own words are the error.
func nft(ctx context.Context, input []byte, args ...string) ([]byte, error) {
	path, err := exec.LookPath("nft")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/nft"); err != nil { // a user's PATH may lack it
			return nil, errNoNFT
		}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			said = err.Error()
		}
		if strings.Contains(said, "Operation not permitted") {
			said += "; run this as root (sudo)"
		}
		return nil, fmt.Errorf("nft: %s", said)
	}
	return stdout.Bytes(), nil
}

// Load puts a text in force: its table, all of it or nothing, and then the backstop. Where
// that fails the error is an [ErrBackstop].
func Load(ctx context.Context, text []byte) error {
	rules, err := backstopOf(text)
	if err != nil {
		return err
	}
	if err := loadTable(ctx, text); err != nil {
		return err
	}
	_, err = setBackstop(rules)
	return err
}

func loadTable(ctx context.Context, text []byte) error {
	_, err := nft(ctx, text, "-f", "-")
	return err
}

// Remove takes the table and the backstop away, and reports whether there was any of them.
func Remove(ctx context.Context) (was bool, err error) {
	handle, err := Loaded(ctx)
	if err != nil {
		return false, err
	}
	rules, err := readBackstop()
	if err != nil || handle == 0 && len(rules) == 0 {
		return false, err
	}
	return true, Load(ctx, []byte(replace))
}

// Loaded is the handle of the table that is in the kernel, of which each that was ever
// loaded has another; zero: there is none.
func Loaded(ctx context.Context) (handle uint64, err error) {
	out, err := nft(ctx, nil, "--handle", "--json", "list", "tables")
	if err != nil {
		return 0, err
	}
	var reply struct {
		Nftables []struct {
			Table struct {
				Family, Name string
				Handle       uint64
			}
		}
	}
	if err := json.Unmarshal(out, &reply); err != nil {
		return 0, fmt.Errorf("reading nft's list of tables: %w", err)
	}
	for _, o := range reply.Nftables {
		if o.Table.Family == Family && o.Table.Name == Table {
			return o.Table.Handle, nil
		}
	}
	return 0, nil
}

// Backup is text that puts back what is loaded now, without the counts.
func Backup(ctx context.Context) ([]byte, error) {
	listing, err := list(ctx)
	if err != nil {
		return nil, err
	}
	rules, err := readBackstop()
	return slices.Concat([]byte(backText(rules)+replace), listing), err
}

// list is the loaded table as nft writes it, without what changes by itself; empty: there
// is none.
func list(ctx context.Context) ([]byte, error) {
	handle, err := Loaded(ctx)
	if err != nil || handle == 0 {
		return nil, err
	}
	return nft(ctx, nil, "--stateless", "--terse", "list", "table", Family, Table)
}

// Differs compares the table and the backstop that are loaded with a text, and returns the lines
// of each that the other does not have; both are empty when they are the same. Since nft writes rules in
// other words than it reads them, the text is loaded in a network namespace of its own, for
// which the caller must be root.
func Differs(ctx context.Context, text []byte) (missing, more []string, err error) {
	is, err := list(ctx)
	if err != nil {
		return nil, nil, err
	}
	should, err := normal(ctx, text)
	if err != nil {
		return nil, nil, err
	}
	missing, more = lines(should, is), lines(is, should)
	if len(missing)+len(more) == 0 && !bytes.Equal(is, should) {
		missing = []string{"the same rules in another order"}
	}
	missingBack, moreBack, err := backstopDiffers(text)
	return append(missing, missingBack...), append(more, moreBack...), err
}

// lines returns the lines of a that b does not have as often.
func lines(a, b []byte) (only []string) {
	count := make(map[string]int)
	for line := range strings.Lines(string(b)) {
		count[line]++
	}
	for line := range strings.Lines(string(a)) {
		if count[line]--; count[line] < 0 {
			only = append(only, strings.TrimSpace(line))
		}
	}
	return only
}

// normal is a text as nft writes it once it is loaded. The goroutine's thread, which has
// entered another network, ends with it.
func normal(ctx context.Context, text []byte) (listing []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("making a network namespace to compare in: %w; run this as root (sudo)", err)
			return
		}
		if err = loadTable(ctx, text); err == nil {
			listing, err = list(ctx)
		}
	}()
	<-done
	return listing, err
}
