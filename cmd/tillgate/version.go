package main

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
)

// build is what the program knows of its own making.
type build struct {
	Version  string    `json:"version"`
	Revision string    `json:"revision,omitempty"` // of the source
	Modified bool      `json:"modified,omitempty"` // the source was changed since
	Time     time.Time `json:"time,omitzero"`      // of the revision
	Go       string    `json:"go"`
}

func readBuild() build {
	b := build{Version: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version, b.Go = info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "vcs.time":
			b.Time, _ = time.Parse(time.RFC3339, s.Value)
		}
	}
	return b
}

// writeVersion is what version and --version say.
func writeVersion(p process) error {
	b := readBuild()
	text := "tillgate " + b.Version
	if b.Revision != "" {
		text += ", revision " + b.Revision
	}
	if b.Modified {
		text += ", modified"
	}
	_, err := fmt.Fprintln(p.stdout, text+", "+b.Go)
	return failed(err)
}

func newVersion(p process) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "say which tillgate this is",
		Args:  takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return writeJSON(p.stdout, readBuild())
			}
			return writeVersion(p)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
