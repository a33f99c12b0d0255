package policy

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// documentRow is a row of the document's table, as it is read here.
type documentRow struct {
	Title       string
	Purpose     []string
	Requirement string              // its own words
	Hosts       map[string][]string // ports, sorted
}

var (
	rowNumber = regexp.MustCompile(`^[1-9]$`)
	hostLine  = regexp.MustCompile(`^(?:https://)?((?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)+)(?:/.*)?$`)
	portWord  = regexp.MustCompile(`TCP (\d+) |HTTPS \((\d+)\)|HTTP \((\d+)\)|(NTP) / (\d+)`)
)

// readDocument reads the table: a number, a title, lines of purpose, a line on
// who needs it, hosts, and ports: one line for all, or one for each host.
func readDocument(t *testing.T) map[int]documentRow {
	t.Helper()
	data, err := os.ReadFile("testdata/payxpert-network-firewall.txt")
	if err != nil {
		t.Fatal(err)
	}
	table, _, ok := strings.Cut(string(data), "Important: All merchant systems")
	if !ok {
		t.Fatal("the end of the document's table is not found")
	}
	rows := make(map[int]documentRow)
	var row documentRow
	var number int
	var hosts []string
	var ports [][]string
	flush := func() {
		if number == 0 {
			return
		}
		if len(ports) == 1 {
			ports = slices.Repeat(ports, len(hosts))
		}
		if len(ports) != len(hosts) {
			t.Fatalf("row %d: %d hosts and %d lines of ports", number, len(hosts), len(ports))
		}
		row.Hosts = make(map[string][]string)
		for i, h := range hosts {
			row.Hosts[h] = ports[i]
		}
		rows[number] = row
	}
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(strings.ReplaceAll(line, "\u00a0", " "))
		host := hostLine.FindStringSubmatch(line)
		switch {
		case line == "":
		case rowNumber.MatchString(line):
			flush()
			number, _ = strconv.Atoi(line)
			row, hosts, ports = documentRow{}, nil, nil
		case number == 0: // before the table
		case row.Title == "":
			row.Title = line
		case host != nil:
			hosts = append(hosts, host[1])
		case len(hosts) > 0:
			var list []string
			for _, m := range portWord.FindAllStringSubmatch(line, -1) {
				if m[4] != "" {
					list = append(list, "udp/"+m[5])
					continue
				}
				list = append(list, "tcp/"+m[1]+m[2]+m[3])
			}
			if list == nil {
				t.Fatalf("row %d: no port in %q", number, line)
			}
			slices.Sort(list)
			ports = append(ports, list)
		case line == "Required" || strings.HasPrefix(line, "Optional") || strings.HasPrefix(line, "Only for"):
			row.Requirement = line
		default:
			row.Purpose = append(row.Purpose, strings.TrimSpace(strings.TrimLeft(line, "•–-")))
		}
	}
	flush()
	return rows
}

// The pack says what the document says: row by row, host by host, port by port.
func TestPackIsTheDocument(t *testing.T) {
	document := readDocument(t)
	if len(document) != 9 {
		t.Fatalf("%d rows found in the document, want 9", len(document))
	}
	// The document's own test connects to the apex of row 4's wildcard.
	data, _ := os.ReadFile("testdata/payxpert-network-firewall.txt")
	if !strings.Contains(string(data), "telnet://central.payxpert.com:443") {
		t.Error("the document no longer tests central.payxpert.com on 443: has the apex still a place in row 4?")
	}
	document[4].Hosts["central.payxpert.com"] = []string{"tcp/443"}

	set, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	pack := make(map[int]documentRow)
	for _, s := range set.Services() {
		row := documentRow{Title: s.Title, Purpose: s.Purpose, Hosts: make(map[string][]string)}
		for _, r := range s.Destinations {
			var ports []string
			for _, p := range r.Ports {
				ports = append(ports, p.String())
			}
			slices.Sort(ports)
			row.Hosts[r.Host] = ports
			if r.Private || r.SNIOptional {
				t.Errorf("%s: more than the document says of %s", r.Pos, r.Host)
			}
		}
		// What the document's words come to.
		switch {
		case s.Requirement == Required && slices.Equal(s.For, []string{"pos"}):
			row.Requirement = "Required"
		case s.Requirement == Optional && slices.Equal(s.For, []string{"pos"}):
			row.Requirement = "Optional if PayXpress APM is deployed for POS."
		case s.Requirement == Conditional && slices.Equal(s.For, []string{"pc"}):
			row.Requirement = "Only for PC, not for POS Devices."
		case s.Requirement == Conditional && slices.Equal(s.For, []string{"sunmi"}):
			row.Requirement = "Only for SUNMI Devices"
		}
		pack[s.Row] = row
	}
	if diff := cmp.Diff(document, pack); diff != "" {
		t.Errorf("the document and the pack (-document +pack):\n%s", diff)
	}
}

// No domain of the document is overlooked by how the table is read above: every
// word of it that looks like one is in the pack, but for the stated exceptions.
func TestEveryDomainOfTheDocument(t *testing.T) {
	data, err := os.ReadFile("testdata/payxpert-network-firewall.txt")
	if err != nil {
		t.Fatal(err)
	}
	set, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	inPack := make(map[string]bool)
	for _, r := range set.Rules() {
		inPack[r.Host] = true
	}
	remarks := map[string]bool{
		"*eu.sunmi.com":  true, // row 5, the instance
		"*api.sunmi.com": true, // row 6, the instance
		"matomo.php":     true, // row 2, a path
	}
	named := make(map[string]bool)
	for _, word := range regexp.MustCompile(`[*A-Za-z0-9.-]*[A-Za-z0-9]\.[A-Za-z]{2,}`).FindAllString(string(data), -1) {
		if remarks[word] {
			continue
		}
		named[word] = true
		if !inPack[word] {
			t.Errorf("the document names %s, the pack does not", word)
		}
	}
	for host := range inPack {
		if !named[host] {
			t.Errorf("the pack has %s, the document does not", host)
		}
	}
}

func TestEmbeddedPolicy(t *testing.T) {
	set, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(set.Classes()); n != 1 {
		t.Fatalf("%d classes, want 1", n)
	}
	class := set.Classes()[0]
	if class.Name != "terminal" || class.Mode != Enforce || class.Time {
		t.Errorf("class %s, mode %s, time %v", class.Name, class.Mode, class.Time)
	}
	var got []string
	for _, s := range class.Services {
		got = append(got, s.ID)
	}
	want := []string{"payxpert/emv", "payxpert/apm", "payxpert/logs", "payxpert/sunmi-tms", "payxpert/sunmi-security",
		"payxpert/sunmi-ntp", "payxpert/sunmi-ct", "payxpert/sunmi-connectivity"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	for _, p := range set.Packs() {
		if p != (Pack{"payxpert", "PayXpert — Network & Firewall Considerations",
			"payxpert-network-firewall.txt, © PayXpert Services Ltd, 2025", true}) {
			t.Errorf("pack %+v", p)
		}
	}
}
