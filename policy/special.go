package policy

// specialUse are the names that the box answers by itself, whatever the rules say, with
// what reserves them: asked of the Internet they would leak, or lead around the box.
var specialUse = map[string]string{
	boxName:         "ICANN board resolution 2024.07.29.06", // the box's own, below .internal
	localhost:       "RFC 6761",
	"resolver.arpa": "RFC 9462 §6.4",
	"home.arpa":     "RFC 8375",
	"local":         "RFC 6762",
	"onion":         "RFC 7686",
	"alt":           "RFC 9476",
	"invalid":       "RFC 6761",
	"test":          "RFC 6761",
}

const (
	boxName   = "tillgate.internal"
	localhost = "localhost"
)

// SpecialUse returns the name that is kept for a special use and is name or above it,
// and its source (an RFC, or a resolution of ICANN's). The box's DNS answers for all
// that is at or below one by itself. It takes a canonical name, and allocates nothing.
func SpecialUse(name string) (zone, source string, ok bool) {
	for zone = name; zone != ""; zone = parent(zone) {
		if source, ok = specialUse[zone]; ok {
			return zone, source, true
		}
	}
	return "", "", false
}

// decideSpecial is the decision on a name at or below zone: the box's name and that of
// the loopback have addresses, the others are empty.
func decideSpecial(class *Class, name, zone string) Decision {
	if name == boxName || zone == localhost {
		return Decision{Class: class, Verdict: Allow, Reason: LocalService}
	}
	return Decision{Class: class, Reason: NotDocumented}
}
