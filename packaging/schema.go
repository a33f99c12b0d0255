// Package packaging is what is installed beside the program. Of that, the program itself
// holds the schemas of its files.
package packaging

import "embed"

// SchemaDir is where the schemas are once they are installed.
const SchemaDir = "/usr/share/tillgate/schema"

//go:embed usr/share/tillgate/schema/*.json
var files embed.FS

// Schema returns the JSON Schema of policy.yaml (policy), tillgate.yaml (tillgate) or a
// pack (pack). The error is fs.ErrNotExist.
func Schema(name string) ([]byte, error) { return files.ReadFile(SchemaDir[1:] + "/" + name + ".json") }
