package policy

import (
	"embed"
	"strings"
)

// The defaults that serve where there are no files.
//
//go:embed default.yaml packs/*.yaml
var embedded embed.FS

// defaultPack is the pack in force where policy.yaml lists none.
const defaultPack = "payxpert"

// Embedded returns the embedded default policy.
func Embedded() (*Set, error) { return Compile(nil) }

func embeddedPolicy() File {
	data, _ := embedded.ReadFile("default.yaml") // there by the directive above
	return File{Name: FileName, Data: data, Embedded: true}
}

func embeddedPack(name string) (File, bool) {
	file := packFolder + "/" + name + ".yaml"
	data, err := embedded.ReadFile(file)
	return File{Name: file, Data: data, Embedded: true}, err == nil
}

func embeddedPackNames() []string {
	entries, _ := embedded.ReadDir(packFolder)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names
}
