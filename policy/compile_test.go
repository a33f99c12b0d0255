package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tillgate/internal/strictyaml"
)

// oneClass is a policy that is good but for what a test puts after it.
const oneClass = `version: 1
packs: []
classes:
  pos: {networks: [10.20.0.0/24], services: [local/a]}
`

// aService is the service of oneClass.
const aService = `services:
  - {id: local/a, reason: test, destinations: [{host: a.example, ports: [tcp/443]}]}
`

// withDestination is a policy of one destination.
func withDestination(destination string) string {
	return oneClass + "services:\n  - {id: local/a, reason: test, destinations: [" + destination + "]}\n"
}

// acme is a good pack.
const acme = `pack: acme
title: Acme
source: acme.txt
services:
  - id: api
    title: API
    requirement: required
    purpose: [pays]
    destinations: [{host: api.acme.example, ports: [tcp/443]}]
`

// problemsOf compiles a policy and packs, named in pairs after it.
func problemsOf(t *testing.T, policy string, packs ...string) []string {
	t.Helper()
	files := []File{{Name: "policy.yaml", Data: []byte(policy)}}
	for i := 0; i < len(packs); i += 2 {
		files = append(files, File{Name: "packs/" + packs[i] + ".yaml", Data: []byte(packs[i+1])})
	}
	_, err := Compile(files)
	return lines(t, err)
}

func lines(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var problems strictyaml.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("%T, want strictyaml.Problems", err)
	}
	return strings.Split(err.Error(), "\n")
}

func TestPolicyProblems(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy string
		packs  []string
		want   []string
	}{
		{"good", oneClass + aService, nil, nil},
		{"unknown key", "version: 1\npacks: []\nclases:\n  pos: {networks: [10.0.0.0/8]}\n", nil, []string{
			`policy.yaml:1:1: missing key: "classes"`,
			`policy.yaml:3:1: unknown key: "clases" (did you mean "classes"?)`,
		}},
		{"unknown key in a class", "version: 1\npacks: []\nclasses:\n  pos:\n    netwroks: [10.0.0.0/8]\n", nil, []string{
			`policy.yaml:5:5: unknown key: "netwroks" (did you mean "networks"?)`,
			`policy.yaml:5:5: neither networks nor interfaces (nothing would be in the class)`,
		}},
		{"unknown key far from any", oneClass + aService + "colour: red\n", nil, []string{
			`policy.yaml:7:1: unknown key: "colour" (known keys: version, mode, packs, classes, services, deny)`,
		}},
		{"duplicate key", oneClass + aService + "version: 1\n", nil, []string{
			`policy.yaml:7:1: duplicate key: "version"`,
		}},
		{"duplicate class", "version: 1\npacks: []\nclasses:\n  a: {networks: [10.0.0.0/8]}\n  a: {networks: [11.0.0.0/8]}\n", nil, []string{
			`policy.yaml:5:3: duplicate key: "a"`,
		}},
		{"version", strings.Replace(oneClass+aService, "version: 1", "version: 2", 1), nil, []string{
			`policy.yaml:1:10: must be 1: "2"`,
		}},
		{"mode", oneClass + aService + "mode: observ\n", nil, []string{
			`policy.yaml:7:7: must be enforce or observe: "observ" (did you mean "observe"?)`,
		}},
		{"no classes", "version: 1\nclasses: {}\n", nil, []string{
			`policy.yaml:2:10: must not be empty (without a class no client may reach anything)`,
		}},
		{"bad class", "version: 1\npacks: []\nclasses:\n  Tills at the front: {networks: [10.0.0.0/8]}\n  b: 10.0.0.0/8\n", nil, []string{
			`policy.yaml:4:3: must be of lower-case letters, digits and inner hyphens, at most 40: "Tills at the front"`,
			`policy.yaml:5:6: must be a mapping, not one value: "10.0.0.0/8"`,
		}},

		{"bad networks", "version: 1\npacks: []\nclasses:\n  a: {networks: [10.20.1.7/24, 10.20.300.0/24, 10.20.1.7, '::ffff:10.0.0.0/104', fe80::1, fe80::%eth0/64]}\n", nil, []string{
			`policy.yaml:4:18: a network with host bits set: "10.20.1.7/24" (did you mean "10.20.1.0/24"?)`,
			`policy.yaml:4:32: not a network: "10.20.300.0/24" (written 10.20.1.0/24 or fd00:20:1::/64)`,
			`policy.yaml:4:48: a network without its length: "10.20.1.7" (for this one address write 10.20.1.7/32)`,
			`policy.yaml:4:59: an IPv4-mapped network: "::ffff:10.0.0.0/104" (write it as IPv4)`,
			`policy.yaml:4:82: a network without its length: "fe80::1" (for this one address write fe80::1/128)`,
			`policy.yaml:4:91: not a network: "fe80::%eth0/64" (written 10.20.1.0/24 or fd00:20:1::/64)`,
		}},
		{"network in two classes", "version: 1\npacks: []\nclasses:\n  a: {networks: [10.0.0.0/8, 10.0.0.0/8]}\n  b: {networks: [10.0.0.0/8, 10.1.0.0/16]}\n", nil, []string{
			`policy.yaml:4:30: duplicate: "10.0.0.0/8"`,
			`policy.yaml:5:18: already in class a: "10.0.0.0/8" (a client can be in one class only)`,
		}},
		{"interface in two classes", "version: 1\npacks: []\nclasses:\n  a: {interfaces: [eth0.20]}\n  b: {interfaces: [eth0.20, eth/1, a-name-of-16-char]}\n", nil, []string{
			`policy.yaml:5:20: already in class a: "eth0.20" (a client can be in one class only)`,
			`policy.yaml:5:29: not the name of an interface: "eth/1" (written eth0.20, at most 15 letters)`,
			`policy.yaml:5:36: not the name of an interface: "a-name-of-16-char" (written eth0.20, at most 15 letters)`,
		}},

		{"no such service", "version: 1\nclasses:\n  a: {networks: [10.0.0.0/8], services: [payxpert/evm, local/printer, payxpert/sunny-*, payxpert/logs, payxpert/logs]}\n", nil, []string{
			`policy.yaml:3:42: no such service: "payxpert/evm" (did you mean "payxpert/emv"?)`,
			`policy.yaml:3:56: no such service: "local/printer"`,
			`policy.yaml:3:71: no such service: "payxpert/sunny-*" (did you mean "payxpert/sunmi-*"?)`,
			`policy.yaml:3:104: duplicate: "payxpert/logs"`,
		}},
		{"not a service", "version: 1\nclasses:\n  a: {networks: [10.0.0.0/8], services: [emv, '*', 'payxpert/*-ct']}\n", nil, []string{
			`policy.yaml:3:42: not a service: "emv" (did you mean "payxpert/emv"?)`,
			`policy.yaml:3:47: not a service: "*" (written PACK/SERVICE, or PACK/* for several)`,
			`policy.yaml:3:52: not a service: "payxpert/*-ct" (written PACK/SERVICE, or PACK/* for several)`,
		}},
		{"a service of a pack that is not listed", "version: 1\nclasses:\n  a: {networks: [10.0.0.0/8], services: [acme/api]}\n", []string{"acme", acme}, []string{
			`policy.yaml:3:42: no such service: "acme/api" (the pack acme is not in packs)`,
		}},
		{"a service of an embedded pack that is not listed", "version: 1\npacks: [payexpert]\nclasses:\n  a: {networks: [10.0.0.0/8], services: [payxpert/emv]}\n", nil, []string{
			`policy.yaml:2:9: no such pack: "payexpert" (did you mean "payxpert"?)`,
			`policy.yaml:4:42: no such service: "payxpert/emv" (the pack payxpert is not in packs)`,
		}},
		{"a service of a pack that cannot be read", "version: 1\npacks: [acme]\nclasses:\n  a: {networks: [10.0.0.0/8], services: [acme/api]}\n", []string{"acme", "pack: acme: x"}, []string{
			`packs/acme.yaml:1:11: not YAML: mapping values are not allowed in this context`,
		}},
		{"no such pack", "version: 1\npacks: [payexpert, acme, zzz, payxpert, payxpert]\nclasses:\n  a: {networks: [10.0.0.0/8]}\n", []string{"acme", acme}, []string{
			`policy.yaml:2:9: no such pack: "payexpert" (did you mean "payxpert"?)`,
			`policy.yaml:2:26: no such pack: "zzz" (its file would be packs/zzz.yaml)`,
			`policy.yaml:2:41: duplicate pack: "payxpert"`,
		}},

		{"hosts", withDestination(`
    {host: "a b.example", ports: [tcp/443]},
    {host: https://a.example/x, ports: [tcp/443]},
    {host: a.example:443, ports: [tcp/443]},
    {host: 192.0.2.1, ports: [tcp/443]},
    {host: "2001:db8::1", ports: [tcp/443]},
    {host: 0x7f000001, ports: [tcp/443]},
    {host: "*", ports: [tcp/443]},
    {host: "a.*.example", ports: [tcp/443]},
    {host: "*a.example", ports: [tcp/443]},
    {host: "*.*.example", ports: [tcp/443]},
    {host: "*.co.uk", ports: [tcp/443]},
    {host: "s-*.com", ports: [tcp/443]},
    {host: "*.kawasaki.jp", ports: [tcp/443]},
    {host: "*.appspot.com", ports: [tcp/443]},
    {host: "", ports: [tcp/443]},
    {host: -a.example, ports: [tcp/443]},
    {host: a..example, ports: [tcp/443]}`), nil, []string{
			`policy.yaml:7:12: not a host name: "a b.example"`,
			`policy.yaml:8:12: not a host name: "https://a.example/x" (write the host alone, without https:// and path)`,
			`policy.yaml:9:12: not a host name: "a.example:443" (write the host alone; its port goes into ports, as tcp/443)`,
			`policy.yaml:10:12: an address where a name must stand: "192.0.2.1" (addresses within the store go into network, as 10.20.5.7/32)`,
			`policy.yaml:11:12: an address where a name must stand: "2001:db8::1" (addresses within the store go into network, as 10.20.5.7/32)`,
			`policy.yaml:12:12: an address where a name must stand: "0x7f000001" (addresses within the store go into network, as 10.20.5.7/32)`,
			`policy.yaml:13:12: a * in the wrong place: "*" (it stands for a subdomain (*.example.com) or for the rest of the first label (s-*.example.com))`,
			`policy.yaml:14:12: a * in the wrong place: "a.*.example" (it stands for a subdomain (*.example.com) or for the rest of the first label (s-*.example.com))`,
			`policy.yaml:15:12: a * in the wrong place: "*a.example" (it stands for a subdomain (*.example.com) or for the rest of the first label (s-*.example.com))`,
			`policy.yaml:16:12: a * in the wrong place: "*.*.example" (it stands for a subdomain (*.example.com) or for the rest of the first label (s-*.example.com))`,
			`policy.yaml:17:12: a * over the public suffix co.uk: "*.co.uk" (it would cover unrelated owners' names: write the domain too)`,
			`policy.yaml:18:12: a * over the public suffix com: "s-*.com" (it would cover unrelated owners' names: write the domain too)`,
			`policy.yaml:19:12: a * over the public suffix kawasaki.jp: "*.kawasaki.jp" (it would cover unrelated owners' names: write the domain too)`,
			`policy.yaml:21:12: not a host name`,
			`policy.yaml:22:12: not a host name: "-a.example"`,
			`policy.yaml:23:12: not a host name: "a..example"`,
		}},
		{"special-use names", withDestination(`
    {host: printer.local, ports: [tcp/443]},
    {host: "*.Nas.Home.arpa", ports: [tcp/443]},
    {host: "s-*.test", ports: [tcp/443]},
    {host: tillgate.internal, ports: [tcp/443]},
    {host: other.internal, ports: [tcp/443]},
    {host: local.example, ports: [tcp/443]}`) + "deny: [{host: tracker.local}]\n", nil, []string{
			`policy.yaml:7:12: a name that the box answers by itself: "printer.local" (local is kept for a special use (RFC 6762): write another name of the host, or its address as network)`,
			`policy.yaml:8:12: a name that the box answers by itself: "*.Nas.Home.arpa" (home.arpa is kept for a special use (RFC 8375): write another name of the host, or its address as network)`,
			`policy.yaml:9:12: a name that the box answers by itself: "s-*.test" (test is kept for a special use (RFC 6761): write another name of the host, or its address as network)`,
			`policy.yaml:10:12: a name that the box answers by itself: "tillgate.internal" (tillgate.internal is kept for a special use (ICANN board resolution 2024.07.29.06): write another name of the host, or its address as network)`,
		}},
		{"ports", withDestination(`
    {host: a.example, ports: [443, 443/tcp, tcp/0, tcp/65536, udp/53, icmp/1, tpc/443, tcp/https, tcp/443, tcp/443]},
    {host: b.example, ports: []},
    {host: c.example, ports: tcp/443},
    {host: d.example}`), nil, []string{
			`policy.yaml:7:31: a port without its protocol: "443" (did you mean "tcp/443"?)`,
			`policy.yaml:7:36: the protocol must be tcp or udp: "443/tcp" (did you mean "tcp/443"?)`,
			`policy.yaml:7:45: a port is a number from 1 to 65535: "tcp/0"`,
			`policy.yaml:7:52: a port is a number from 1 to 65535: "tcp/65536"`,
			`policy.yaml:7:63: UDP is let through on port 123 only: "udp/53"`,
			`policy.yaml:7:71: the protocol must be tcp or udp: "icmp/1"`,
			`policy.yaml:7:79: the protocol must be tcp or udp: "tpc/443" (did you mean "tcp"?)`,
			`policy.yaml:7:88: a port is a number from 1 to 65535: "tcp/https"`,
			`policy.yaml:7:108: duplicate: "tcp/443"`,
			`policy.yaml:8:30: must not be empty (written [tcp/443])`,
			`policy.yaml:9:30: must be a list, not one value: "tcp/443" (written [tcp/443])`,
			`policy.yaml:10:5: missing key: "ports"`,
		}},
		{"destinations", withDestination(`
    {host: a.example, ports: [tcp/443]},
    {host: A.example., ports: [tcp/80]},
    {host: b.example, network: 10.0.0.1/32, ports: [tcp/443]},
    {ports: [tcp/443]},
    {network: 10.0.0.2/32, ports: [tcp/443], private: true},
    {network: 8.8.8.8/32, ports: [tcp/443]},
    {network: 0.0.0.0/0, ports: [tcp/443]},
    {host: c.example, ports: [tcp/443], sni: maybe, private: yes}`), nil, []string{
			`policy.yaml:8:12: duplicate: "a.example" (one entry holds all its ports)`,
			`policy.yaml:9:5: both host and network (write two destinations)`,
			`policy.yaml:10:5: neither host nor network`,
			`policy.yaml:11:5: private and sni are for a host (remove them)`,
			`policy.yaml:12:15: a network that is not within the store: "8.8.8.8/32" (only private addresses are reached by address: write the host's name)`,
			`policy.yaml:13:15: a network that is not within the store: "0.0.0.0/0" (only private addresses are reached by address: write the host's name)`,
			`policy.yaml:14:46: must be required or optional: "maybe"`,
			`policy.yaml:14:62: must be true or false: "yes"`,
		}},
		{"local services", oneClass + `services:
  - {id: local/a, destinations: []}
  - {id: local/a, reason: x, until: tomorrow, destinations: [{host: a.example, ports: [tcp/443]}]}
  - {id: printer, reason: "", destinations: [{host: a.example, ports: [tcp/443]}]}
  - {id: local/A, reason: , destinations: [{host: a.example, ports: [tcp/443]}]}
`, nil, []string{
			`policy.yaml:6:5: missing key: "reason"`,
			`policy.yaml:6:33: must not be empty`,
			`policy.yaml:7:10: duplicate: "local/a"`,
			`policy.yaml:7:37: must be a time: "tomorrow" (written 2027-01-31T00:00:00Z)`,
			`policy.yaml:8:10: a service of the store's own begins with local/: "printer" (did you mean "local/printer"?)`,
			`policy.yaml:8:27: must not be empty`,
			`policy.yaml:9:10: must be of lower-case letters, digits and inner hyphens, at most 40: "local/A"`,
			`policy.yaml:9:27: no reason (write why the store needs this service, in your own words)`,
		}},
		{"deny", oneClass + aService + "deny: [{host: b.example}, {host: B.example}, {host: '*.com'}, c.example, {hots: d.example}]\n", nil, []string{
			`policy.yaml:7:34: duplicate: "b.example"`,
			`policy.yaml:7:53: a * over the public suffix com: "*.com" (it would cover unrelated owners' names: write the domain too)`,
			`policy.yaml:7:63: must be a mapping, not one value: "c.example"`,
			`policy.yaml:7:74: missing key: "host"`,
			`policy.yaml:7:75: unknown key: "hots" (did you mean "host"?)`,
		}},
		{"what YAML has and we do not", oneClass + aService + "deny: &x [{host: !!str b.example}]\n", nil, []string{
			`policy.yaml:7:7: an anchor: "&x" (remove it: aliases are not read)`,
			`policy.yaml:7:18: a tag: "!!str" (remove it)`,
		}},
		{"an alias", oneClass + "services: &x []\ndeny: *x\n", nil, []string{
			`policy.yaml:5:11: an anchor: "&x" (remove it: aliases are not read)`,
			`policy.yaml:6:7: an alias: "*x" (write the value out)`,
		}},
		{"two documents", oneClass + aService + "---\nversion: 1\n", nil, []string{
			`policy.yaml:7:1: a second document (only one is read: remove the line ---)`,
		}},
		{"nothing", "# nothing yet\n", nil, []string{
			`policy.yaml:1:1: missing key: "version"`,
			`policy.yaml:1:1: missing key: "classes"`,
		}},
		{"no mapping", "- version: 1\n", nil, []string{
			`policy.yaml:1:1: must be a mapping, not a list`,
		}},

		{"pack", oneClass + aService, []string{"acme", `pack: acne
titel: Acme
source: acme.txt
services:
  - id: api
    row: 0
    title: API
    requirement: require
    purpose: []
    for: [POS]
    destinations: [{host: api.acme.example, ports: [tcp/443]}]
  - id: api
    title: API
    requirement: required
    purpose: pays
    destinations: [{host: "*.uk", ports: [tcp/443]}]
suggestions:
  - {host: x.acme.example, near: acme/app, why: x}
  - {host: x.acme.example, near: payxpert/emv}
`}, []string{
			`packs/acme.yaml:1:1: missing key: "title"`,
			`packs/acme.yaml:1:7: not the name of the file: "acne" (did you mean "acme"?)`,
			`packs/acme.yaml:2:1: unknown key: "titel" (did you mean "title"?)`,
			`packs/acme.yaml:6:10: must be from 1 to 9999: "0"`,
			`packs/acme.yaml:8:18: must be required or optional or conditional: "require" (did you mean "required"?)`,
			`packs/acme.yaml:9:14: must not be empty (an auditor asks what it is for)`,
			`packs/acme.yaml:10:11: must be of lower-case letters, digits and inner hyphens, at most 40: "POS"`,
			`packs/acme.yaml:12:9: duplicate: "api"`,
			`packs/acme.yaml:15:14: must be a list, not one value: "pays" (written [pays])`,
			`packs/acme.yaml:16:27: a * over the public suffix uk: "*.uk" (it would cover unrelated owners' names: write the domain too)`,
			`packs/acme.yaml:18:34: no service of this pack: "acme/app" (did you mean "acme/api"?)`,
			`packs/acme.yaml:19:5: missing key: "why"`,
			`packs/acme.yaml:19:12: duplicate: "x.acme.example"`,
			`packs/acme.yaml:19:34: no service of this pack: "payxpert/emv"`,
		}},
		{"a pack named local", oneClass + aService, []string{"local", strings.Replace(acme, "acme", "local", 1)}, []string{
			`packs/local.yaml:1:7: is the name of the store's own services: "local" (choose another, also for the file)`,
		}},
		{"a pack file with a bad name", oneClass + aService, []string{"Acme Pay", acme}, []string{
			`packs/Acme Pay.yaml:1:1: not the name of a pack file (written packs/acme.yaml, in lower-case letters, digits and hyphens)`,
		}},
		{"all files at once", "version: 1\n", []string{"acme", "pack: acme\n", "b", "pack: c\ntitle: x\nsource: x\nservices: []\n"}, []string{
			`packs/acme.yaml:1:1: missing key: "title"`,
			`packs/acme.yaml:1:1: missing key: "source"`,
			`packs/acme.yaml:1:1: missing key: "services"`,
			`packs/b.yaml:1:7: not the name of the file: "c" (did you mean "b"?)`,
			`policy.yaml:1:1: missing key: "classes"`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, problemsOf(t, tt.policy, tt.packs...)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// What the parser finds is told with its place; its words are its own.
func TestSyntaxProblems(t *testing.T) {
	for _, tt := range []struct{ policy, want string }{
		{"version: 1\nclasses: {a: {networks: [10.0.0.0/8]\n", "policy.yaml:3:1: not YAML: did not find expected ',' or '}' (it began in line 2)"},
		{"version: 1\n\tmode: observe\n", "policy.yaml:2:"},
		{"version: 1\nclasses: \"a\n", "policy.yaml:3:1: not YAML: found unexpected end of stream (it began in line 2)"},
		{"version: 1\nmode: observe: x\n", "policy.yaml:2:"},
		{"\xff\xfe\x00", "policy.yaml:1:1"},
		{"version: \x01\n", "policy.yaml:1:"},
		{strings.Repeat("[", 100_000), "policy.yaml:1:"},
	} {
		got := problemsOf(t, tt.policy)
		if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) || !strings.Contains(got[0], "not YAML") {
			t.Errorf("%.40q: %q, want one problem at %s that says: not YAML", tt.policy, got, tt.want)
		}
	}
}

func TestBounds(t *testing.T) {
	var classes, packs, services strings.Builder
	for i := range maxClasses + 1 {
		fmt.Fprintf(&classes, "  c%d: {networks: [10.0.%d.0/24]}\n", i, i)
	}
	for i := range maxPacks + 1 {
		fmt.Fprintf(&packs, "p%d,", i)
	}
	for i := range maxSameHost {
		fmt.Fprintf(&services, "  - {id: local/s%d, reason: x, destinations: [{host: a.example, ports: [tcp/443]}]}\n", i)
	}
	var ports []string
	for i := range maxPorts + 1 {
		ports = append(ports, fmt.Sprintf("tcp/%d", i+1))
	}
	for _, tt := range []struct{ name, policy, want string }{
		{"classes", "version: 1\npacks: []\nclasses:\n" + classes.String(),
			`policy.yaml:68:3: more than 64 classes: "c64"`},
		{"packs", "version: 1\npacks: [" + packs.String() + "]\nclasses: {a: {networks: [10.0.0.0/8]}}\n",
			`more than 64 packs: "p64"`},
		{"services with one host", oneClass + "services:\n  - {id: local/a, reason: x, destinations: [{host: b.example, ports: [tcp/443]}]}\n" + services.String(),
			`policy.yaml:70:1: the same host in more than 63 services: "a.example"`},
		{"ports", withDestination("{host: a.example, ports: [" + strings.Join(ports, ", ") + "]}"),
			`more than 32 ports`},
		{"a large file", oneClass + aService + strings.Repeat("#", strictyaml.MaxSize),
			`policy.yaml:1:1: the file is larger than 1024 KiB`},
		{"problems", oneClass + aService + "deny: [" + strings.Repeat("x,", 500) + "]\n",
			`more problems, not shown (fix the others first)`},
	} {
		got := strings.Join(problemsOf(t, tt.policy), "\n")
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %.500s\nwant: %s", tt.name, got, tt.want)
		}
	}
}
