package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// backMark begins the lines of a text of rules that are the backstop's. To nft they are
// comments: so one text is all that is to be in force.
const backMark = "# ip -"

// writeBackstop writes the backstop at the head of the text.
func (t *table) writeBackstop() {
	rules := t.backstop()
	switch {
	case len(rules) == 0:
		return
	case len(rules) > MaxBackstop:
		t.gaps = append(t.gaps, fmt.Sprintf("the classes have so many networks that %d rules of the routing policy would be needed beside the table, and %d are the most: none are made, and whoever flushes nft's rules on a box that forwards opens the way to the Internet until they are back; join networks, or name interfaces in their place", len(rules), MaxBackstop))
		return
	}
	t.text.WriteString("#\n# Beside it stand these rules of the routing policy, which no flush of nft reaches:\n" + backText(rules))
}

// backText is rules as a text has them.
func backText(rules []backRule) string {
	var text strings.Builder
	for _, r := range rules {
		text.WriteString("# " + r.String() + "\n")
	}
	return text.String()
}

// backstopOf reads the backstop of a text. All that begins as a rule of it must be one, as
// String writes it: a text may come from who must not have other ways for packets made.
func backstopOf(text []byte) (rules []backRule, err error) {
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, backMark) {
			continue
		}
		line = strings.TrimSuffix(line, "\n")
		r, ok := parseBackRule(strings.Fields(line[len("# "):]))
		if !ok || "# "+r.String() != line {
			return nil, fmt.Errorf("the rules have a line that is none of the routing policy's: %.80q", line)
		}
		if slices.Contains(rules, r) {
			return nil, fmt.Errorf("the rules have the same line of the routing policy twice: %.80q", line)
		}
		if rules = append(rules, r); len(rules) > MaxBackstop {
			return nil, fmt.Errorf("the rules have more than %d lines of the routing policy", MaxBackstop)
		}
	}
	return rules, nil
}

// parseBackRule reads the words of a rule. What it takes too freely is not written back
// the same.
func parseBackRule(words []string) (r backRule, ok bool) {
	if len(words) < 2 || words[1] != "-4" && words[1] != "-6" {
		return r, false
	}
	r.is4 = words[1] == "-4"
	for i := 2; i+1 < len(words); i++ {
		value := words[i+1]
		switch words[i] {
		case "pref":
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return r, false
			}
			r.pref = uint32(n)
		case "iif":
			r.in = value
		case "from":
			r.from, _ = netip.ParsePrefix(value)
		case "to":
			r.to, _ = netip.ParsePrefix(value)
		case "goto":
			r.action = backSkip
		case "lookup":
			r.action = backPrivate
		case "nop":
			r.action = backEnd
			continue
		default:
			continue
		}
		i++
	}
	return r, r.inPlace()
}

// inPlace reports whether a rule is of a shape that backstop makes.
func (r backRule) inPlace() bool {
	for _, p := range []netip.Prefix{r.from, r.to} {
		if p.IsValid() && (p.Addr().Is4() != r.is4 || p != p.Masked() || p.Bits() == 0) {
			return false
		}
	}
	if len(r.in) > maxInterface || strings.Contains(r.in, "\x00") { // where the kernel's name would end
		return false
	}
	in, from, to := r.in != "", r.from.IsValid(), r.to.IsValid()
	switch r.action {
	case backEnd:
		return r.pref == prefEnd && !in && !from && !to
	case backPrivate:
		return r.pref == prefPrivate && !in && !from && to
	case backStop:
		return r.pref == prefStop && in && r.in != "lo" && !from && !to || r.ofNetwork()
	case backSkip:
		return r.pref == prefBox && r.in == "lo" && !from && !to || r.pref == prefReach && !in && !from && to || r.ofNetwork()
	}
	return false
}

func (r backRule) ofNetwork() bool {
	return r.in == "" && r.from.IsValid() && !r.to.IsValid() &&
		r.pref == prefFrom+uint32(r.from.Addr().BitLen()-r.from.Bits())
}

// maxInterface is the length of the longest name of an interface (IFNAMSIZ, linux/if.h,
// which counts the end).
const maxInterface = 15
