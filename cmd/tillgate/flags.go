package main

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"
)

func configFlag(cmd *cobra.Command, v *string, usage string) {
	cmd.Flags().StringVar(v, "config", "", usage)
	cmd.MarkFlagDirname("config")
}

func stateFlag(cmd *cobra.Command, v *string, usage string) {
	cmd.Flags().StringVar(v, "state", "", usage)
	cmd.MarkFlagDirname("state")
}

func socketFlag(cmd *cobra.Command, v *string) {
	cmd.Flags().StringVar(v, "socket", "", "path of the box's socket (default: where boxes are)")
	cmd.MarkFlagFilename("socket")
}

func jsonFlag(cmd *cobra.Command, v *bool) {
	cmd.Flags().BoolVar(v, "json", false, "print JSON")
}

// writeJSON writes a value indented: a person may look at it too.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return failed(e.Encode(v))
}
