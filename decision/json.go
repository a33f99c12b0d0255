package decision

import (
	"math"
	"net/netip"
	"strconv"
	"time"
)

// AppendJSON appends the record as one JSON object, without a newline. What is
// empty is absent; strings are written by [AppendString].
func (r *Record) AppendJSON(dst []byte) []byte {
	b := append(dst, '{')
	b = appendTime(b, "time", r.Time)
	b = appendUint(b, "seq", r.Seq)
	b = appendText(b, "boot", r.Boot)
	b = appendTrue(b, "untrusted_time", r.UntrustedTime)
	b = appendText(b, "plane", r.Plane.String())
	b = appendText(b, "event", string(r.Event))
	if r.Plane.Decides() {
		b = appendText(b, "verdict", r.Verdict.String())
	}
	b = appendText(b, "reason", r.Reason.String())
	if r.Client.IsValid() {
		b = appendAddr(appendKey(b, "client"), r.Client)
	}
	b = appendText(b, "class", r.Class)
	b = appendText(b, "name", r.Name)
	b = appendUint(b, "port", uint64(r.Port))
	b = appendText(b, "proto", r.Proto.String())
	b = appendText(b, "qtype", r.Qtype)
	b = appendText(b, "rcode", r.Rcode)
	b = appendText(b, "service", r.Service)
	if r.Row != 0 {
		b = strconv.AppendInt(appendKey(b, "row"), int64(r.Row), 10)
	}
	b = appendText(b, "rule", r.Rule)
	b = appendText(b, "policy", r.Policy)
	b = appendUint(b, "count", r.Count)
	b = appendTime(b, "until", r.Until)
	if r.Dest.IsValid() {
		b = AppendString(appendKey(b, "dest"), r.Dest.String())
	}
	if len(r.Answers) > 0 {
		b = append(appendKey(b, "answers"), '[')
		for i, a := range r.Answers {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendAddr(b, a)
		}
		b = append(b, ']')
	}
	if len(r.CNAME) > 0 {
		b = append(appendKey(b, "cname"), '[')
		for i, s := range r.CNAME {
			if i > 0 {
				b = append(b, ',')
			}
			b = AppendString(b, s)
		}
		b = append(b, ']')
	}
	b = appendUint(b, "up", r.Up)
	b = appendUint(b, "down", r.Down)
	b = appendFloat(b, "ms", r.Ms)
	b = appendFloat(b, "offset_ms", r.OffsetMs)
	b = appendTrue(b, "stale", r.Stale)
	b = appendText(b, "by", r.By)
	b = appendText(b, "detail", r.Detail)
	return append(b, '}')
}

// MarshalJSON makes encoding/json use [Record.AppendJSON].
func (r Record) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }

// UnmarshalJSON makes encoding/json use [ParseRecord].
func (r *Record) UnmarshalJSON(b []byte) (err error) {
	*r, err = ParseRecord(b)
	return err
}

func appendKey(b []byte, key string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, key...)
	return append(b, '"', ':')
}

func appendText(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return AppendString(appendKey(b, key), s)
}

func appendTime(b []byte, key string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(appendKey(b, key), '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendUint(b []byte, key string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendUint(appendKey(b, key), n, 10)
}

// appendFloat leaves out what JSON has no number for.
func appendFloat(b []byte, key string, f float64) []byte {
	if f == 0 || math.IsNaN(f) || math.IsInf(f, 0) {
		return b
	}
	format := byte('f')
	if abs := math.Abs(f); abs < 1e-6 || abs >= 1e21 {
		format = 'e' // else three hundred zeros
	}
	return strconv.AppendFloat(appendKey(b, key), f, format, -1, 64)
}

func appendTrue(b []byte, key string, v bool) []byte {
	if !v {
		return b
	}
	return append(appendKey(b, key), "true"...)
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Zone() != "" { // a zone may hold anything
		return AppendString(b, a.String())
	}
	b = append(b, '"')
	b = a.AppendTo(b)
	return append(b, '"')
}
