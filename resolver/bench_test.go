package resolver

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"tillgate/decision"
	"tillgate/internal/pktinfo"
)

func BenchmarkHit(b *testing.B)    { benchmarkQuery(b, known) }
func BenchmarkDenied(b *testing.B) { benchmarkQuery(b, "example.com") }

// benchmarkQuery answers a query for an address, of a terminal: by itself, and from the
// memo in batches; and gives no answer to one that has asked too much.
func benchmarkQuery(b *testing.B, name string) {
	for _, way := range []string{"plain", "memo", "over"} {
		b.Run(way, func(b *testing.B) {
			w := newTwins(b)
			r := w.box[1]
			j, err := decision.Open(decision.Config{Dir: b.TempDir() + "/journal"})
			if err != nil {
				b.Fatal(err)
			}
			r.deps.Records = j
			r.rate = newLimiter(1_000_000, 1_000_000_000, start)
			if way == "over" {
				r.rate = newLimiter(1, 1, start)
			}
			packets := make([]pktinfo.Packet, udpBatch)
			reply := make([]byte, 0, serverUDPSize)
			for i := range packets {
				packets[i] = pktinfo.Packet{Data: packed(b, queryFor(name, dns.TypeA)), From: netip.AddrPortFrom(netip.MustParseAddr(till), 53), Reply: reply}
			}
			info := pktinfo.Info{Local: netip.MustParseAddr("10.0.0.1")}
			w.ask(packets[0].From.Addr(), info, packets[0].Data) // fills the cache
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += len(packets) {
				for i := range packets {
					packets[i].Info, packets[i].Reply = info, reply
					if way == "plain" {
						r.serve(r.queryUDP(w.set, &packets[i], w.now, nil), packets[i].Data)
					}
				}
				if way != "plain" {
					r.serveUDP(w.with, packets, nil)
				}
			}
			if replied := len(packets[0].Reply) > 0; replied != (way != "over") {
				b.Errorf("replied: %v", replied)
			}
		})
	}
}
