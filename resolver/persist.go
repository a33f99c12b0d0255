package resolver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/google/renameio/v2"
	"github.com/miekg/dns"

	"tillgate/policy"
)

const (
	// saveEvery is how often the cache is written to disk while the box runs: seldom,
	// for the sake of SD cards. What it is for is a restart without an upstream.
	saveEvery = time.Hour
	// maxCacheFile bounds what is written and read back, in bytes.
	maxCacheFile = 16 << 20
)

// savedCache is the cache file. Only addresses are kept: what did not exist before a
// restart is asked for again.
type savedCache struct {
	Version int           `json:"version"`
	Saved   time.Time     `json:"saved"`
	Answers []savedAnswer `json:"answers"`
}

type savedAnswer struct {
	Name    string       `json:"name"`
	Type    string       `json:"type"`
	CNAME   []string     `json:"cname,omitempty"`
	Addrs   []netip.Addr `json:"addrs"`
	Expires time.Time    `json:"expires"`
	Asked   time.Time    `json:"asked"`
}

const cacheVersion = 1

// encode returns the cache as a file of at most max bytes: of the names asked for last, as
// many as fit. The times in it are of the clock on the wall, which now stands at wall.
func (c *cache) encode(now, wall time.Time, max int) ([]byte, error) {
	onWall := func(t time.Time) time.Time { return wall.Add(t.Sub(now)).UTC() }
	c.mu.Lock()
	var answers []savedAnswer
	for k, it := range c.items {
		if it.answer != nil && len(it.answer.addrs) > 0 && now.Before(it.expires.Add(c.stale)) {
			answers = append(answers, savedAnswer{
				Name:    k.name,
				Type:    dns.TypeToString[k.qtype],
				CNAME:   it.answer.cname,
				Addrs:   it.answer.addrs,
				Expires: onWall(it.expires),
				Asked:   onWall(it.asked),
			})
		}
	}
	c.mu.Unlock()
	slices.SortFunc(answers, func(a, b savedAnswer) int { return b.Asked.Compare(a.Asked) })

	empty, err := json.Marshal(savedCache{Version: cacheVersion, Saved: wall.UTC(), Answers: []savedAnswer{}})
	if err != nil {
		return nil, err
	}
	end := []byte("]}")
	file := bytes.TrimSuffix(empty, end)
	for i, a := range answers {
		line, err := json.Marshal(a)
		if err != nil {
			return nil, err
		}
		if len(file)+1+len(line)+len(end) > max {
			break
		}
		if i > 0 {
			file = append(file, ',')
		}
		file = append(file, line...)
	}
	return append(file, end...), nil
}

// decode adds the answers of a file, good for nothing but stale answers until they
// were asked for again. Their ages count from when the file was saved if the clock
// has fallen behind that.
func (c *cache) decode(data []byte, now, wall time.Time) error {
	var saved savedCache
	if err := json.Unmarshal(data, &saved); err != nil {
		return err
	}
	if saved.Version != cacheVersion {
		return fmt.Errorf("version %d is not known", saved.Version)
	}
	then := wall
	if saved.Saved.After(wall) {
		then = saved.Saved
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range saved.Answers {
		name, ok := policy.WireName(s.Name)
		qtype := dns.StringToType[s.Type]
		left := s.Expires.Sub(then)
		if !ok || len(c.items) >= c.max || left < -c.stale || !validAddrs(s.Addrs, qtype) || len(s.CNAME) > maxChain {
			continue
		}
		c.items[key{name, qtype}] = &item{
			answer:   &answer{cname: s.CNAME, addrs: s.Addrs},
			expires:  now.Add(min(left, maxTTL*time.Second)),
			asked:    now.Add(min(s.Asked.Sub(then), 0)),
			restored: true,
		}
	}
	return nil
}

// validAddrs reports whether addrs are the addresses of a name by a query of qtype.
func validAddrs(addrs []netip.Addr, qtype uint16) bool {
	for _, a := range addrs {
		if !a.IsValid() || a.Zone() != "" || a.Is4() != (qtype == dns.TypeA) {
			return false
		}
	}
	return len(addrs) > 0 && len(addrs) <= maxAddrs && (qtype == dns.TypeA || qtype == dns.TypeAAAA)
}

// restoreCache reads the cache file. One that can't be read is no reason not to start.
func (r *Resolver) restoreCache() {
	if r.cfg.CacheFile == "" {
		return
	}
	info, err := os.Stat(r.cfg.CacheFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil && info.Size() > maxCacheFile {
		err = fmt.Errorf("%d bytes, more than %d", info.Size(), maxCacheFile)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(r.cfg.CacheFile)
	}
	if err == nil {
		err = r.cache.decode(data, r.deps.Now(), r.wall())
	}
	if err != nil {
		r.deps.Log.Warn("the DNS cache of before is left aside; names are asked for again",
			"file", r.cfg.CacheFile, "err", err)
	}
}

// keepCache writes the cache file now and then, and when ctx ends.
func (r *Resolver) keepCache(ctx context.Context) {
	if r.cfg.CacheFile == "" {
		return
	}
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.saveCache()
		case <-ctx.Done():
			r.saveCache()
			return
		}
	}
}

func (r *Resolver) saveCache() {
	data, err := r.cache.encode(r.deps.Now(), r.wall(), maxCacheFile)
	if err == nil {
		err = renameio.WriteFile(r.cfg.CacheFile, data, 0o640)
	}
	if err != nil {
		r.deps.Log.Warn("the DNS cache could not be saved; after a restart without an upstream no name is known",
			"file", r.cfg.CacheFile, "err", err)
	}
}

// wall is the time of the cache file, which is read before the time is known: the clock's,
// but never one that has passed for certain.
func (r *Resolver) wall() time.Time {
	now, floor := r.deps.Clock.Now(), r.deps.Clock.Floor()
	if now.Before(floor) {
		return floor
	}
	return now
}
