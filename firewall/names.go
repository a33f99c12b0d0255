package firewall

import (
	"strings"
	"time"
)

// Family and Table name the table. Nothing outside of it is touched.
const (
	Family = "inet"
	Table  = "tillgate"
)

// LogGroup is the NFLOG group that gets the first packet of each attempt, and LogSnap how
// many bytes of it: the headers.
const (
	LogGroup = 3130
	LogSnap  = 128
)

// The sets of attempts that were seen, told by NFLOG when they got in. Each element has a
// counter, of the packets after the first too, and is gone [SeenFor] after it got in, so
// that the next packet is a first one again. Ports are keyed by source, destination,
// protocol (tcp, udp) and destination port, Other by source, destination and protocol.
//
// A source gets [FirstBurst] elements at once and then one a second: so the most of one
// source are FirstBurst and a minute's, and no source uses up the room of the others. What
// is beyond is in the source's counter alone.
const (
	SetPorts4 = "ports4"
	SetPorts6 = "ports6"
	SetOther4 = "other4"
	SetOther6 = "other6"

	SeenSize   = 32768
	SeenFor    = time.Minute
	FirstBurst = 64
)

// The sets of sources. Each element has a counter of all packets that were refused or
// observed, those of the seen attempts with them: what these don't have is what the source
// sent beyond. An element is gone [SourcesFor] after the last packet.
const (
	SetSources4 = "sources4"
	SetSources6 = "sources6"

	SourcesSize = 4096
	SourcesFor  = 10 * time.Minute
)

// The sets that hold how many first sights a source may yet have. Nobody needs to read them.
const (
	setBudget4 = "budget4"
	setBudget6 = "budget6"
)

// Kind is what became of a packet that no rule lets through.
type Kind uint8

// The kinds. Observed let it pass, since its class is only observed. The source of a
// Spoofed one is not of its interface's class, which is the class that is told (where the
// interface is no class's, that of the source); it is in no set, but told a few times a
// second and counted by class.
const (
	Refused Kind = iota
	Observed
	Spoofed
)

var kinds = [...]string{"refused", "observed", "spoofed"}

func (k Kind) String() string { return kinds[k] }

// CounterName names the counter of all packets of a kind and a class.
func CounterName(kind Kind, class string) string { return kind.String() + "-" + class }

// LogPrefix is NFLOG's prefix of a kind and a class.
func LogPrefix(kind Kind, class string) string { return Table + " " + kind.String() + " " + class }

// ParseLogPrefix is the inverse of [LogPrefix].
func ParseLogPrefix(text string) (kind Kind, class string, ok bool) {
	text, ok = strings.CutPrefix(text, Table+" ")
	word, class, more := strings.Cut(text, " ")
	for i, k := range kinds {
		if ok && more && class != "" && k == word {
			return Kind(i), class, true
		}
	}
	return 0, "", false
}
