package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tillgate/console"
)

func newConsole(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "console",
		Short: "the password of the web console",
		Args:  takes(0, 0),
		RunE:  helpOf,
	}
	cmd.AddCommand(newConsolePasswd(p))
	return cmd
}

func newConsolePasswd(p process) *cobra.Command {
	var (
		remove, asJSON bool
		socket         string
	)
	cmd := &cobra.Command{
		Use:   "passwd",
		Short: "set the password of the web console",
		Long: `Set the password of the web console, of 10 characters at least. It is asked for twice at
a terminal, else read from the first line of standard input. The box keeps its argon2id hash alone.

With a password, addresses of listen.console that others than the machine itself can reach are
served, by TLS, and who has logged in may change what the box does. Without one the
console is on the machine's own addresses alone, and shows but changes nothing. All who are logged
in are logged out. Only root and the user that the box runs as may do this.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := findBox(cmd.Context(), socket, p)
			if err != nil {
				return err
			}
			var asked console.NewPassword
			if !remove {
				password, err := readNewPassword(os.Stdin, p.stderr)
				if err != nil {
					return failed(err)
				}
				asked.Hash = console.HashPassword(password)
			}
			reach, err := c.SetPassword(cmd.Context(), asked)
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return writeJSON(p.stdout, reach)
			}
			writeReach(p.stdout, reach)
			return nil
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "have none from now on")
	socketFlag(cmd, &socket)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// readNewPassword asks for a password at a terminal, twice, as it is not shown; else it is
// a line of f.
func readNewPassword(f *os.File, prompt io.Writer) (string, error) {
	if !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(f, 4<<10)).ReadString('\n')
		if err != nil && (err != io.EOF || line == "") {
			return "", fmt.Errorf("reading the password: %w; give it as a line of standard input", err)
		}
		password := strings.TrimRight(line, "\r\n")
		return password, console.CheckPassword(password)
	}
	// Raw, so that an interrupt is read as one: it must not leave a terminal without echo.
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	defer term.Restore(int(f.Fd()), before)
	screen := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{f, prompt}, "")
	first, err := screen.ReadPassword("New password of the console: ")
	if err != nil {
		return "", errNotTyped
	}
	if err := console.CheckPassword(first); err != nil {
		return "", err
	}
	second, err := screen.ReadPassword("Once more: ")
	switch {
	case err != nil:
		return "", errNotTyped
	case first != second:
		return "", errors.New("these are two passwords; nothing has changed, run it again")
	}
	return first, nil
}

var errNotTyped = errors.New("no password was typed; nothing has changed")

func writeReach(w io.Writer, r console.Reach) {
	if r.Password {
		fmt.Fprintln(w, "the password is set; who was logged in is logged out")
	} else {
		fmt.Fprintln(w, "there is no password any more; who was logged in is logged out")
	}
	for _, url := range r.URLs {
		fmt.Fprintln(w, "  "+printable(url))
	}
	if r.Fingerprint != "" {
		fmt.Fprintln(w, "  certificate SHA-256 "+printable(r.Fingerprint))
	}
	if r.State != "ok" || len(r.URLs) == 0 {
		fmt.Fprintln(w, "  "+printable(r.Text))
	}
}
