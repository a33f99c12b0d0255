package proxy

import (
	"bytes"
	"errors"
)

// An opening is what the first bytes of a connection tell of it.
type opening uint8

const (
	openingUnknown opening = iota // it may yet become a request
	openingTLS
	openingHTTP
	openingOther
)

// openingOf tells TLS, HTTP/1 and all else apart, as soon as can be: a client of another
// protocol may be waiting for an answer to what it has said. TLS and what is binary are told
// by the first byte; text is a request until a byte that no method has, or until its first
// line ends as no request line does (RFC 9112 §3).
func openingOf(raw []byte) opening {
	switch {
	case len(raw) == 0:
		return openingUnknown
	case raw[0] == recordHandshake:
		return openingTLS
	case raw[0] < 'A' || raw[0] > 'Z':
		return openingOther
	}
	if line, _, ended := bytes.Cut(raw, []byte("\n")); ended {
		line = bytes.TrimSuffix(line, []byte("\r"))
		if new(headReader).line(string(line)) != "" {
			return openingOther
		}
		return openingHTTP
	}
	method, _, _ := bytes.Cut(raw, []byte(" "))
	switch {
	case len(method) > maxMethod || len(bytes.Trim(method, capitals)) > 0:
		return openingOther
	case len(raw) > maxHead:
		return openingHTTP // too much of it, as the gate will say
	}
	return openingUnknown
}

var (
	errTLSOnHTTP = errors.New("TLS on the port of HTTP")
	errNeither   = errors.New("neither TLS nor HTTP")
)
