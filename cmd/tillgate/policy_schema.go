package main

import (
	"github.com/spf13/cobra"

	"tillgate/packaging"
)

// schemas are of policy.yaml, tillgate.yaml and packs/NAME.yaml.
var schemas = []string{"policy", "tillgate", "pack"}

func newSchema(p process) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [policy|tillgate|pack]",
		Short: "print the JSON Schema of a file, for editors",
		Long: `Print the JSON Schema of policy.yaml, tillgate.yaml or a pack, so that an editor completes
keys and says what they are for. Editors with the YAML language server find the installed
ones by the first line of the example files. What a schema lets through may still be bad:
tillgate policy check knows.`,
		Example:   `  tillgate policy schema pack >pack.json`,
		Args:      takes(0, 1),
		ValidArgs: schemas,
		RunE: func(_ *cobra.Command, args []string) error {
			name := schemas[0]
			if len(args) == 1 {
				name = args[0]
			}
			text, err := packaging.Schema(name)
			if err != nil {
				return oneOf("schema", name, schemas)
			}
			_, err = p.stdout.Write(text)
			return failed(err)
		},
	}
}
