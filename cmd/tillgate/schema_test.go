package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"tillgate/internal/strictyaml"
	"tillgate/packaging"
	"tillgate/policy"
)

// schemaOf compiles a schema, and returns it as it is written, too.
func schemaOf(t *testing.T, name string) (*jsonschema.Schema, map[string]any) {
	t.Helper()
	text, err := packaging.Schema(name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return schema, doc.(map[string]any)
}

// valid reads YAML as editors do, by its core schema, which has no times.
func valid(schema *jsonschema.Schema, text []byte) error {
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return err
	}
	if v == nil {
		v = map[string]any{}
	}
	return schema.Validate(plain(v))
}

func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = plain(value)
		}
	case []any:
		for i, value := range v {
			v[i] = plain(value)
		}
	case time.Time:
		return v.Format(time.RFC3339)
	}
	return v
}

// read reads a file as the program does.
func read(kind string, text []byte) strictyaml.Problems {
	var problems strictyaml.Problems
	switch kind {
	case "tillgate":
		_, problems = parseSettings(text)
	case "policy":
		_, err := policy.Compile([]policy.File{{Name: policy.FileName, Data: text}})
		errors.As(err, &problems)
	case "pack":
		_, err := policy.Compile([]policy.File{{Name: "packs/acme.yaml", Data: text}})
		errors.As(err, &problems)
	}
	return problems
}

func TestSchemasAndFiles(t *testing.T) {
	for file, name := range map[string]string{
		"../../packaging/etc/tillgate/policy.yaml":   "policy",
		"../../policy/default.yaml":                  "policy",
		"../../packaging/etc/tillgate/tillgate.yaml": "tillgate",
		"../../policy/packs/payxpert.yaml":           "pack",
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		schema, _ := schemaOf(t, name)
		if err := valid(schema, text); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		if want := "# yaml-language-server: $schema=" + packaging.SchemaDir + "/" + name + ".json"; strings.Contains(file, "/etc/") && line != want {
			t.Errorf("%s begins with %q, want %q", file, line, want)
		}
	}
}

// What is good to the program is good to the schema; and what the schema can know to be bad
// is bad to both.
func TestSchemasAgree(t *testing.T) {
	const (
		head    = "version: 1\nclasses: {pos: {networks: [10.20.0.0/24]}}\n"
		service = head + "services: [{id: local/a, reason: r, destinations: [{host: a.example, ports: [tcp/443]}]}]\n"
		acme    = "pack: acme\ntitle: A\nsource: a\nservices: [{id: a, title: A, requirement: required, purpose: [p], destinations: [{host: a.example, ports: [tcp/443]}]}]\nsuggestions: [{host: s-*.a.example, near: acme/a, why: w}]\n"
		box     = "listen: {dns: [\"127.0.0.1:53\", \"[fd00::1]:53\"]}\ncache: {stale: 0, warm: 1h30m}\njournal: {keep: 400d, max_size: 2GiB}\n"
	)
	for _, tt := range []struct {
		kind, text string
		from, to   string // replaced
		good       bool
	}{
		{"policy", service, "", "", true},
		{"policy", service, "reason: r", "reason: r, until: 2027-01-31T00:00:00+01:00", true},
		{"policy", service, "reason: r", "reason: r, until: tomorrow", false},
		{"policy", service, "reason: r", "reason: ", false},
		{"policy", service, "reason: r", "reason: \" \"", false},
		{"policy", service, "reason: r, ", "", false},
		{"policy", service, "local/a", "own/a", false},
		{"policy", service, "local/a", "local/A", false},
		{"policy", service, "{host: a.example, ports: [tcp/443]}", "", false},
		{"policy", service, "host: a.example", "host: \"*.a.example\"", true},
		{"policy", service, "host: a.example", "host: \"a.*.example\"", false},
		{"policy", service, "host: a.example", "host: https://a.example/x", false},
		{"policy", service, "host: a.example", "network: 10.20.5.7/32", true},
		{"policy", service, "host: a.example", "network: 10.20.5.7/32, private: true", false},
		{"policy", service, "host: a.example", "host: a.example, network: 10.20.5.7/32", false},
		{"policy", service, "host: a.example, ", "", false},
		{"policy", service, "host: a.example", "host: a.example, sni: maybe", false},
		{"policy", service, "host: a.example", "host: a.example, sni: optional, private: true", true},
		{"policy", service, "host: a.example", "host: a.example, private: yes please", false},
		{"policy", service, "tcp/443", "443", false},
		{"policy", service, "tcp/443", "udp/53", false},
		{"policy", service, "tcp/443", "tcp/443, tcp/443", false},
		{"policy", service, "[tcp/443]", "[]", false},
		{"policy", head, "version: 1", "version: 2", false},
		{"policy", head, "version: 1\n", "", false},
		{"policy", head, "{pos: {networks: [10.20.0.0/24]}}", "{}", false},
		{"policy", head, "pos", "Pos", false},
		{"policy", head, "[10.20.0.0/24]", "[10.20.0.1]", false},
		{"policy", head, "networks: [10.20.0.0/24]", "interfaces: [eth0.20]", true},
		{"policy", head, "networks: [10.20.0.0/24]", "interfaces: [a/b]", false},
		{"policy", head, "networks: [10.20.0.0/24]", "time: true", false},
		{"policy", head, "10.20.0.0/24]", "10.20.0.0/24], mode: observed", false},
		{"policy", head, "10.20.0.0/24]", "10.20.0.0/24], services: [payxpert/emv, \"payxpert/sunmi-*\"]", true},
		{"policy", head, "10.20.0.0/24]", "10.20.0.0/24], services: [emv]", false},
		{"policy", head, "version: 1", "version: 1\ndeny: [{host: \"*.ads.example\"}]", true},
		{"policy", head, "version: 1", "version: 1\ndeny: [ads.example]", false},
		{"policy", head, "version: 1", "version: 1\npacks: [Acme]", false},
		{"pack", acme, "", "", true},
		{"pack", acme, "pack: acme", "pack: local", false},
		{"pack", acme, "required", "needed", false},
		{"pack", acme, "[p]", "[]", false},
		{"pack", acme, "title: A,", "title: A, row: 0,", false},
		{"pack", acme, "title: A,", "title: A, row: 3, for: [pos],", true},
		{"pack", acme, "near: acme/a, ", "", false},
		{"pack", acme, "source: a\n", "", false},
		{"tillgate", box, "", "", true},
		{"tillgate", "", "", "", true},
		{"tillgate", box, "127.0.0.1:53", "53", false},
		{"tillgate", box, "stale: 0", "stale: -1h", false},
		{"tillgate", box, "stale: 0", "stale: 6", false},
		{"tillgate", box, "2GiB", "2GB", false},
		{"tillgate", box, "cache:", "time: {quorum: 0}\ncache:", false},
		{"tillgate", box, "cache:", "time: {servers: [pool.ntp.org, 10.0.0.1]}\ncache:", true},
		{"tillgate", box, "cache:", "upstream: {addresses: []}\ncache:", false},
		{"tillgate", box, "cache:", "upstream: {url: \"http://dns.google/\"}\ncache:", false},
		{"tillgate", box, "cache:", "proxy: {tunnels: many}\ncache:", false},
		{"tillgate", box, "cache:", "firewall: {interfaces: {pos: [eth0.20]}, admin: [10.20.9.0/24]}\ncache:", true},
		{"tillgate", box, "cache:", "firewall: {admin: [here]}\ncache:", false},
	} {
		text := strings.Replace(tt.text, tt.from, tt.to, 1)
		schema, _ := schemaOf(t, tt.kind)
		if err := valid(schema, []byte(text)); (err == nil) != tt.good {
			t.Errorf("%s to the schema: %v\n%s", tt.kind, err, text)
		}
		if problems := read(tt.kind, []byte(text)); (len(problems) == 0) != tt.good {
			t.Errorf("%s to the program: %v\n%s", tt.kind, problems, text)
		}
	}
}

// The schemas have the keys that the program knows, and no others: of each mapping, an
// unknown key makes it tell them.
func TestSchemasHaveAllKeys(t *testing.T) {
	const unknown = "qzxwvq"
	hole := "{" + unknown + ": 1}"
	for kind, objects := range map[string]map[string]string{ // where in the schema, and in a file
		"policy": {
			"":             unknown + ": 1",
			"/deny":        "deny: [" + hole + "]",
			"#class":       "classes: {pos: " + hole + "}",
			"#service":     "services: [" + hole + "]",
			"#destination": "services: [{destinations: [" + hole + "]}]",
		},
		"pack": {
			"":             unknown + ": 1",
			"/suggestions": "suggestions: [" + hole + "]",
			"#service":     "services: [" + hole + "]",
			"#destination": "services: [{destinations: [" + hole + "]}]",
		},
		"tillgate": {
			"": unknown + ": 1", "/listen": "listen: " + hole, "/upstream": "upstream: " + hole, "/dns": "dns: " + hole,
			"/cache": "cache: " + hole, "/time": "time: " + hole, "/proxy": "proxy: " + hole, "/firewall": "firewall: " + hole, "/journal": "journal: " + hole,
		},
	} {
		_, doc := schemaOf(t, kind)
		found := make(map[string]map[string]any)
		collect(doc, "", found)
		for where, properties := range found {
			file, ok := objects[where]
			if !ok {
				t.Errorf("%s: nothing is known of the mapping at %q", kind, where)
				continue
			}
			keys := slices.Sorted(maps.Keys(properties))
			var known []string
			for _, p := range read(kind, []byte(file)) {
				if list, ok := strings.CutPrefix(p.Hint, "known keys: "); ok && p.Text == unknown {
					known = strings.Split(list, ", ")
				}
			}
			slices.Sort(known)
			if diff := cmp.Diff(known, keys); diff != "" {
				t.Errorf("%s at %q (-program +schema):\n%s", kind, where, diff)
			}
			for key, value := range properties {
				if text, _ := json.Marshal(value); !strings.Contains(string(text), `"description"`) && !strings.Contains(string(text), `"$ref"`) {
					t.Errorf("%s at %q: %s is not described", kind, where, key)
				}
			}
		}
		if len(found) != len(objects) {
			t.Errorf("%s: %d mappings in the schema, want %d: %v", kind, len(found), len(objects), slices.Sorted(maps.Keys(found)))
		}
	}
}

// collect finds the keys of all mappings of a schema: by the key that they are the value of,
// or the definition.
func collect(schema map[string]any, where string, found map[string]map[string]any) {
	properties, _ := schema["properties"].(map[string]any)
	if properties != nil {
		found[where] = properties
	}
	for key, value := range properties {
		sub, _ := value.(map[string]any)
		collect(sub, where+"/"+key, found)
	}
	if items, ok := schema["items"].(map[string]any); ok {
		collect(items, where, found)
	}
	definitions, _ := schema["definitions"].(map[string]any)
	for name, value := range definitions {
		collect(value.(map[string]any), fmt.Sprint("#", name), found)
	}
}
