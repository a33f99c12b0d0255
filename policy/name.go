package policy

import "strings"

// WireName returns a name that came over the wire in its canonical form: lower
// case, without one dot at its end. It is false for what is no host name:
// labels of 1 to 63 letters, digits, underscores and inner hyphens, of
// at most 253 bytes in all (RFC 1123, section 2.1). The root is "". It
// allocates nothing when name has no upper-case letter.
func WireName(name string) (string, bool) {
	trimmed, upper, ok := checkName(name)
	if !ok || !upper {
		return trimmed, ok
	}
	var buf [maxName]byte
	b, _ := AppendWireName(buf[:0], trimmed)
	return string(b), true
}

// AppendWireName appends the canonical form of name to dst. What it appends
// for a name that is not ok has no meaning.
func AppendWireName[T string | []byte](dst []byte, name T) ([]byte, bool) {
	trimmed, upper, ok := checkName(name)
	n := len(dst)
	dst = append(dst, trimmed...)
	if upper {
		for i, c := range dst[n:] {
			dst[n+i] = lower(c)
		}
	}
	return dst, ok
}

const (
	maxName  = 253
	maxLabel = 63
)

// checkName returns the name without a dot at its end, whether it has
// upper-case letters, and whether it is a host name.
func checkName[T string | []byte](name T) (trimmed T, upper, ok bool) {
	if n := len(name); n > 0 && name[n-1] == '.' {
		name = name[:n-1]
		if n == 1 {
			return name, false, true
		}
	}
	if len(name) == 0 {
		return name, false, true
	}
	if len(name) > maxName {
		return name, false, false
	}
	label := 0 // where it begins
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '.' {
			if i == label || i-label > maxLabel || name[label] == '-' || name[i-1] == '-' {
				return name, upper, false
			}
			label = i + 1
			continue
		}
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case 'A' <= c && c <= 'Z':
			upper = true
		default:
			return name, upper, false
		}
	}
	return name, upper, true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// IsLiteral reports whether a canonical name is an address in disguise: one whose last
// label is a number, as 1.2.3.4, 0x7f000001 and 2130706433 (what a browser
// takes for IPv4: https://url.spec.whatwg.org/#ends-in-a-number-checker), or
// an IPv6 address, which is no host name at all.
func IsLiteral(name string) bool {
	if i := strings.IndexByte(name, ':'); i >= 0 && strings.IndexByte(name[i+1:], ':') >= 0 {
		return strings.Trim(name, "0123456789abcdefABCDEF:.[]") == ""
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case last == "" || last[0] < '0' || last[0] > '9': // nearly all names
		return false
	case strings.HasPrefix(last, "0x"):
		return strings.Trim(last[2:], "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}
