package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tillgate/console"
	"tillgate/decision"
)

func newStatus(p process) *cobra.Command {
	var (
		socket string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "say how the box is",
		Long:  `Say how every part of the running box is. The exit status is 1 when one is bad.`,
		Args:  takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, s, err := findBox(cmd.Context(), socket, p)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(p.stdout, s)
			} else {
				writeStatus(p, c.Socket, s, time.Now())
			}
			if err == nil && s.State == decision.Bad.String() {
				return errSaid
			}
			return err
		},
	}
	socketFlag(cmd, &socket)
	jsonFlag(cmd, &asJSON)
	return cmd
}

var (
	stateColours = map[string]string{"ok": green, "warn": yellow, "bad": red}
	stateWords   = map[string]string{"ok": "well", "warn": "at work, with a warning", "bad": "not well"}
)

func writeStatus(p process, socket string, s console.Status, now time.Time) {
	d := newDisplay(p.stdout, p.getenv)
	fmt.Fprintf(p.stdout, "tillgate %s is %s, up %s (process %d, %s)\n", s.Version, d.paint(stateColours[s.State], stateWords[s.State]),
		roughly(time.Duration(s.Uptime*float64(time.Second))), s.PID, socket)
	const nameWidth, stateWidth = 12, 6
	for _, part := range s.Parts {
		before := pad("  "+part.Name, nameWidth) + d.paint(stateColours[part.State], pad(part.State, stateWidth))
		text := printable(part.Text)
		if part.State != decision.OK.String() {
			text += " (for " + roughly(now.Sub(part.Since)) + ")"
		}
		d.hang(p.stdout, before, nameWidth+stateWidth, text)
	}
	n := s.DNS
	fmt.Fprintln(p.stdout)
	d.facts(p.stdout,
		[2]string{"queries", fmt.Sprintf("%d: %d denied, %d from the cache (%d stale), %d waited for the upstream, %d failed, %d without an answer",
			n.Queries, n.Denied, n.Hits+n.Stale, n.Stale, n.Misses, n.Failed, n.Dropped)},
		[2]string{"proxy", proxyWords(s.Proxy)},
		[2]string{"ntp", timeWords(s.Time)},
		[2]string{"clocks", clocksWords(s.Time.Clients)},
		[2]string{"records", recordsWords(s.Journal)},
		[2]string{"policy", s.Policy.ID + " in force for " + roughly(now.Sub(s.Policy.Since)) + changesWords(s.Policy.Changes)},
		[2]string{"folders", foldersWords(s.Folders)},
	)
}

func proxyWords(c console.ProxyCounts) string {
	text := fmt.Sprintf("%s now; %d let through, %d denied, %d failed; %s up and %s down in tunnels that have ended",
		plural(c.Tunnels, "tunnel"), c.Allowed, c.Denied, c.Failed, size(c.Up), size(c.Down))
	if c.Fastest > 0 {
		text += "; the fastest download came with " + mbits(c.Fastest)
	}
	return text
}

func timeWords(s console.TimeStatus) string {
	return fmt.Sprintf("%s: %d answered, %d told that there is no time, %d denied, %d without an answer",
		plural(s.Requests, "request"), s.Answered, s.NoTime, s.Denied, s.Dropped)
}

const maxClocks = 5 // that are told

// clocksWords tells whose clocks are wrong, the worst first; nothing if none is.
func clocksWords(clients []console.TimeClient) string {
	var said []string
	wrong := 0
	for _, c := range clients {
		text := wrongBy(c.OffsetMs)
		if text == "" {
			continue
		}
		if wrong++; wrong <= maxClocks {
			said = append(said, fmt.Sprintf("%s (%s) is %s", c.Client, printable(c.Class), text))
		}
	}
	if more := wrong - len(said); more > 0 {
		said = append(said, fmt.Sprintf("and %d more are wrong", more))
	}
	return strings.Join(said, "; ")
}

// recordsWords leaves out what is not known yet.
func recordsWords(j console.JournalCounts) string {
	text := fmt.Sprintf("%d since the start, which count %s", j.Records, plural(j.Repeats, "repeat"))
	if j.Dropped > 0 {
		text += fmt.Sprintf("; %d lost", j.Dropped)
	}
	if j.Bytes > 0 {
		text += "; the journal takes " + size(j.Bytes)
		if !j.Oldest.IsZero() {
			text += " and begins on " + j.Oldest.Local().Format(time.DateOnly)
		}
	}
	return text
}

func changesWords(changes []string) string {
	if len(changes) == 0 {
		return ""
	}
	return ": " + printable(strings.Join(changes, "; "))
}

func foldersWords(f console.Folders) string {
	if f.Config == "" {
		return f.State
	}
	return f.Config + ", " + f.State
}

// roughly is a duration in its largest unit and the next.
func roughly(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	if d >= 2*365*day {
		return fmt.Sprintf("%d years", d/(365*day))
	}
	return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
}

// size is a number of bytes in the largest unit.
func size[N int64 | uint64](n N) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	i, f := 0, float64(n)
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	return strconv.FormatFloat(f, 'f', min(i, 1), 64) + " " + units[i]
}
