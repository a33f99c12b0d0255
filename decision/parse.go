package decision

import (
	"errors"
	"fmt"
	"net/netip"

	"tillgate/policy"
)

// ParseRecord is the inverse of [Record.AppendJSON]. A key that it does not
// know is skipped, so that an older box reads a newer one's journal; a key given
// twice, or a value that its key cannot have, is an error.
//
// It is written by hand because encoding/json turns the lone surrogates of
// [AppendString] into U+FFFD, and because a report reads millions of records.
func ParseRecord(line []byte) (Record, error) {
	s := scanner{b: line}
	var r Record
	s.want('{')
	for n := 0; s.err == nil && !s.next('}'); n++ {
		if n > 0 {
			s.want(',')
		}
		key := s.key()
		s.want(':')
		s.field(&r, key)
		if s.err != nil {
			return Record{}, fmt.Errorf("record key %q: %w", key, s.err)
		}
	}
	s.space()
	if s.err == nil && s.i < len(s.b) {
		s.err = errSyntax
	}
	if s.err != nil {
		return Record{}, fmt.Errorf("record: %w", s.err)
	}
	return r, nil
}

var (
	errSyntax = errors.New("not valid JSON")
	errTwice  = errors.New("given twice")
	errValue  = errors.New("not a value of this key")
)

// keys are the keys of a record; their index is their bit in scanner.seen.
var keys = [...]string{"time", "seq", "boot", "untrusted_time", "plane", "event", "verdict", "reason",
	"client", "class", "name", "port", "proto", "qtype", "rcode", "service", "row", "rule", "policy",
	"count", "until", "dest", "answers", "cname", "up", "down", "ms", "offset_ms", "stale", "by", "detail"}

// key reads a key. One that is written plainly, as ours are, costs no memory.
func (s *scanner) key() string {
	if s.next('"') {
		rest := s.b[s.i:]
		for n := range keys { // from the last one on: they come in order
			k := keys[(s.at+n)%len(keys)]
			if len(rest) > len(k) && rest[len(k)] == '"' && string(rest[:len(k)]) == k {
				s.i += len(k) + 1
				return k
			}
		}
		s.i--
	}
	return s.text()
}

// field reads the value of key into r.
func (s *scanner) field(r *Record, key string) {
	for n := range keys {
		if i := (s.at + n) % len(keys); keys[i] == key {
			if s.seen&(1<<i) != 0 {
				s.fail(errTwice)
			}
			s.seen |= 1 << i
			s.at = i
			break
		}
	}
	switch key {
	case "time":
		r.Time = s.time()
	case "seq":
		r.Seq = s.uint(64)
	case "boot":
		r.Boot = s.text()
	case "untrusted_time":
		r.UntrustedTime = s.bool()
	case "plane":
		r.Plane = enum(s, policy.ParsePlane)
	case "event":
		r.Event = Event(s.text())
	case "verdict":
		r.Verdict = enum(s, policy.ParseVerdict)
	case "reason":
		r.Reason = enum(s, policy.ParseReason)
	case "client":
		r.Client = s.addr()
	case "class":
		r.Class = s.text()
	case "name":
		r.Name = s.text()
	case "port":
		r.Port = uint16(s.uint(16))
	case "proto":
		r.Proto = enum(s, policy.ParseProto)
	case "qtype":
		r.Qtype = s.text()
	case "rcode":
		r.Rcode = s.text()
	case "service":
		r.Service = s.text()
	case "row":
		r.Row = int(s.uint(31))
	case "rule":
		r.Rule = s.text()
	case "policy":
		r.Policy = s.text()
	case "count":
		r.Count = s.uint(64)
	case "until":
		r.Until = s.time()
	case "dest":
		ap, err := netip.ParseAddrPort(s.text())
		s.fail(err)
		r.Dest = ap
	case "answers":
		for range s.list() {
			r.Answers = append(r.Answers, s.addr())
		}
	case "cname":
		for range s.list() {
			r.CNAME = append(r.CNAME, s.text())
		}
	case "up":
		r.Up = s.uint(64)
	case "down":
		r.Down = s.uint(64)
	case "ms":
		r.Ms = s.float()
	case "offset_ms":
		r.OffsetMs = s.float()
	case "stale":
		r.Stale = s.bool()
	case "by":
		r.By = s.text()
	case "detail":
		r.Detail = s.text()
	default:
		s.skip(0)
	}
}
