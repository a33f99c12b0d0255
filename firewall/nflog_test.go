package firewall

import (
	"testing"

	"github.com/mdlayher/netlink"
)

// logMessage is a message of the log as the kernel writes it.
func logMessage(t testing.TB, attrs ...netlink.Attribute) netlink.Message {
	t.Helper()
	b, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		t.Fatal(err)
	}
	return netlink.Message{Header: netlink.Header{Type: msgLogPacket}, Data: append([]byte{2, 0, 0, 5}, b...)}
}

func TestParseSight(t *testing.T) {
	payload := netlink.Attribute{Type: attrLogPayload, Data: bytesOf(t, tcp4)}
	index := netlink.Attribute{Type: attrLogInterface, Data: []byte{0, 0, 0, 7}}
	prefix := netlink.Attribute{Type: attrLogPrefix, Data: []byte("tillgate:pos:reject\x00")}
	s, ok := parseSight(logMessage(t, index, payload, prefix))
	if !ok || s.prefix != "tillgate:pos:reject" || s.index != 7 || s.attempt.port != 853 || s.attempt.dst.String() != "8.8.8.8" {
		t.Errorf("a packet: %+v, %v", s, ok)
	}
	for _, tt := range []struct {
		what string
		m    netlink.Message
	}{
		{"no payload", logMessage(t, index, prefix)},
		{"a payload that is none", logMessage(t, netlink.Attribute{Type: attrLogPayload, Data: []byte{1}})},
		{"an index of two bytes", logMessage(t, payload, netlink.Attribute{Type: attrLogInterface, Data: []byte{0, 7}})},
		{"another message", netlink.Message{Header: netlink.Header{Type: msgLogConfig}, Data: logMessage(t, payload).Data}},
		{"nothing", netlink.Message{Header: netlink.Header{Type: msgLogPacket}}},
	} {
		if s, ok := parseSight(tt.m); ok {
			t.Errorf("%s: %+v", tt.what, s)
		}
	}
}

func FuzzParseSight(f *testing.F) {
	f.Add(logMessage(f, netlink.Attribute{Type: attrLogPayload, Data: bytesOf(f, tcp4)},
		netlink.Attribute{Type: attrLogPrefix, Data: []byte("x\x00")}).Data)
	f.Add([]byte{2, 0, 0, 5, 3, 0, 9, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := parseSight(netlink.Message{Header: netlink.Header{Type: msgLogPacket}, Data: b})
		if ok && (!s.attempt.src.IsValid() || len(s.prefix) > maxPrefix) {
			t.Errorf("%+v", s)
		}
	})
}
