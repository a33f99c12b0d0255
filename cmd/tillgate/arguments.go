package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// takes wants so many arguments, and else says what to type: cobra's own errors count them.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("something is missing; type %s", whatToType(cmd))
		case len(args) > most:
			return fmt.Errorf("%q is not understood here; type %s", args[most], whatToType(cmd))
		}
		return nil
	}
}

// whatToType is a command as its help has it, with those below it.
func whatToType(cmd *cobra.Command) string {
	text := strings.TrimSuffix(cmd.UseLine(), " [flags]")
	var below []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			below = append(below, c.Name())
		}
	}
	if below != nil {
		text += " [" + strings.Join(below, "|") + "]"
	}
	return text
}

// helpOf is what a command does that only has others below it.
func helpOf(cmd *cobra.Command, _ []string) error { return cmd.Help() }
