package main

import (
	"tillgate/console"
	"tillgate/decision"
	"tillgate/proxy"
	"tillgate/resolver"
)

func dnsCounts(s resolver.Stats) console.DNSCounts {
	return console.DNSCounts{
		Queries:   s.Queries,
		Denied:    s.Denied,
		Hits:      s.Hits,
		Stale:     s.Stale,
		Misses:    s.Misses,
		Failed:    s.Failed,
		Dropped:   s.Dropped,
		Unsent:    s.Unsent,
		Cached:    s.Cached,
		Waiting:   s.Waiting,
		Exchanges: s.Exchanges,
		Failures:  s.Failures,
	}
}

func proxyCounts(s proxy.Stats) console.ProxyCounts {
	return console.ProxyCounts{
		Connections: s.Connections,
		Refused:     s.Refused,
		Allowed:     s.Allowed,
		Denied:      s.Denied,
		Failed:      s.Failed,
		Up:          s.Up,
		Down:        s.Down,
		Fastest:     s.Fastest,
		Waiting:     s.Waiting,
		Tunnels:     s.Tunnels,
	}
}

func journalCounts(s decision.Stats) console.JournalCounts {
	return console.JournalCounts{
		Records:  s.Records,
		Repeats:  s.Repeats,
		Dropped:  s.Dropped,
		Segments: s.Segments,
		Bytes:    s.Bytes,
		Oldest:   s.Oldest,
	}
}
