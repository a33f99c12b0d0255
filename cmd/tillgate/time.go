package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newTime(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "time",
		Short: "forget what the box knows of the time",
		Args:  takes(0, 0),
		RunE:  helpOf,
	}
	cmd.AddCommand(newTimeReset(p))
	return cmd
}

func newTimeReset(p process) *cobra.Command {
	var (
		flags  places
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "forget the saved clock",
		Long: `Forget the saved clock: for a box that believes a time that is yet to come,
which it would defend against all servers. A box that runs finds out the time anew at once, one that
does not when it starts. Only root and the user that the box runs as may do this.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := findBox(cmd.Context(), flags.socket, p)
			if _, none := errors.AsType[noBoxError](err); none && flags.socket == "" {
				return resetOffline(p, flags.state)
			}
			if err != nil {
				return err
			}
			reset, err := c.ResetTime(cmd.Context())
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return writeJSON(p.stdout, reset)
			}
			fmt.Fprintln(p.stdout, "the box has forgotten the time, and is finding it out anew; tillgate status tells how far it is")
			return nil
		},
	}
	stateFlag(cmd, &flags.state, "folder of a box that does not run")
	socketFlag(cmd, &flags.socket)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// resetOffline forgets the clock of a box that does not run, and can't start meanwhile.
func resetOffline(p process, state string) error {
	where := []string{state}
	if state == "" {
		where = states(p.getenv)
	}
	has := func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, clockFile))
		return !errors.Is(err, fs.ErrNotExist)
	}
	i := slices.IndexFunc(where, has)
	if i < 0 {
		fmt.Fprintf(p.stdout, "no box is running, and there is no saved clock in %s\n", strings.Join(where, " or "))
		return nil
	}
	state = where[i]
	file := filepath.Join(state, clockFile)
	lock, err := lockState(state)
	if err != nil {
		return failed(err)
	}
	defer lock.Close()
	if err := forgetClock(state); err != nil {
		return failed(err)
	}
	fmt.Fprintf(p.stdout, "no box is running; the saved clock %s is forgotten\n", file)
	return nil
}
