package decision

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"tillgate/policy"
)

// equal compares records; their addresses and times have unexported fields.
func diff(a, b any) string {
	return cmp.Diff(a, b, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }))
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

// full has every key.
func full() Record {
	return Record{
		Time: at("2026-11-22T10:00:00.000000001Z"), Seq: 7, Boot: "b00t", UntrustedTime: true,
		Plane: policy.Connect, Event: EventClose, Verdict: policy.WouldDeny, Reason: policy.NotDocumented,
		Client: netip.MustParseAddr("10.20.1.7"), Class: "sunmi", Name: "api.example", Port: 443, Proto: policy.TCP,
		Qtype: "A", Rcode: "NOERROR", Service: "payxpert/emv", Row: 1, Rule: "packs/payxpert.yaml:12",
		Policy: "0123456789ab", Count: 3, Until: at("2026-11-22T10:00:09Z"),
		Dest:    netip.MustParseAddrPort("[2001:db8::1]:443"),
		Answers: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		CNAME:   []string{"a.example", "b.example"}, Up: 10, Down: 20, Ms: 1.25, OffsetMs: -3.5,
		Stale: true, By: "client", Detail: "why",
	}
}

const fullLine = `{"time":"2026-11-22T10:00:00.000000001Z","seq":7,"boot":"b00t","untrusted_time":true,` +
	`"plane":"connect","event":"close","verdict":"would-deny","reason":"not-documented",` +
	`"client":"10.20.1.7","class":"sunmi","name":"api.example","port":443,"proto":"tcp",` +
	`"qtype":"A","rcode":"NOERROR","service":"payxpert/emv","row":1,"rule":"packs/payxpert.yaml:12",` +
	`"policy":"0123456789ab","count":3,"until":"2026-11-22T10:00:09Z",` +
	`"dest":"[2001:db8::1]:443","answers":["192.0.2.1","2001:db8::1"],"cname":["a.example","b.example"],` +
	`"up":10,"down":20,"ms":1.25,"offset_ms":-3.5,"stale":true,"by":"client","detail":"why"}`

func TestAppendJSON(t *testing.T) {
	r := full()
	for i := range reflect.TypeFor[Record]().NumField() {
		if reflect.ValueOf(r).Field(i).IsZero() {
			t.Fatalf("full() lacks %s", reflect.TypeFor[Record]().Field(i).Name)
		}
	}
	for _, tt := range []struct {
		name string
		r    Record
		want string
	}{
		{"every key", r, fullLine},
		{"empty: the verdict stays", Record{}, `{"plane":"dns","verdict":"deny"}`},
		{"no verdict where nothing is decided", Record{Plane: policy.System, Event: EventStart}, `{"plane":"system","event":"start"}`},
		{"not a number", Record{Plane: policy.Policy, Ms: nan(), OffsetMs: -1 / zero()}, `{"plane":"policy"}`},
		{"small number", Record{Plane: policy.Policy, Ms: 1e-300}, `{"plane":"policy","ms":1e-300}`},
		{"local time", Record{Plane: policy.Policy, Time: at("2026-11-22T10:00:00+01:00")}, `{"time":"2026-11-22T09:00:00Z","plane":"policy"}`},
		{"a zone holds anything", Record{Plane: policy.Policy, Client: netip.MustParseAddr("fe80::1%\x1b<")},
			`{"plane":"policy","client":"fe80::1%\u001b\u003c"}`},
	} {
		got := string(tt.r.AppendJSON(nil))
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: not valid JSON", tt.name)
		}
	}
	if got := string(new(Record).AppendJSON([]byte("x"))); !strings.HasPrefix(got, "x{") {
		t.Errorf("what was there is gone: %s", got)
	}
}

func zero() float64 { return 0 }
func nan() float64  { return zero() / zero() }

func TestMarshal(t *testing.T) {
	b, err := json.Marshal([]Record{full()})
	if err != nil || string(b) != "["+fullLine+"]" {
		t.Fatalf("got %s, %v", b, err)
	}
	var back []Record
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if d := diff([]Record{full()}, back); d != "" {
		t.Error(d)
	}
}

func TestParseRecordErrors(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{``, "not valid JSON"},
		{`{`, "not valid JSON"},
		{`{}x`, "not valid JSON"},
		{`{"seq":1,}`, "not valid JSON"},
		{`{"seq":1 "boot":"x"}`, "not valid JSON"},
		{`{"seq":1,"seq":2}`, `key "seq": given twice`},
		{`{"seq":-1}`, `key "seq": not a value`},
		{`{"seq":18446744073709551616}`, `key "seq": not a value`},
		{`{"seq":07}`, `key "seq": not a value`},
		{`{"port":65536}`, `key "port": not a value`},
		{`{"row":2147483648}`, `key "row": not a value`},
		{`{"plane":"smtp"}`, `key "plane": not a value`},
		{`{"verdict":"maybe"}`, `key "verdict": not a value`},
		{`{"reason":"mood"}`, `key "reason": not a value`},
		{`{"proto":"sctp"}`, `key "proto": not a value`},
		{`{"client":"10.0.0.256"}`, `key "client": not a value`},
		{`{"dest":"10.0.0.1"}`, `key "dest": `},
		{`{"answers":["10.0.0.1",]}`, `key "answers": `},
		{`{"answers":["10.0.0.1"`, `key "answers": `},
		{`{"time":"2026-11-22T10:00:00+01:00"}`, `key "time": not a value`},
		{`{"time":"yesterday"}`, `key "time": not a value`},
		{`{"ms":inf}`, `key "ms": not a value`},
		{`{"ms":0x1p2}`, `key "ms": not a value`},
		{`{"ms":1e999}`, `key "ms": not a value`},
		{`{"stale":1}`, `key "stale": not a value`},
		{`{"name":"a` + "\n" + `b"}`, `key "name": not valid JSON`},
		{`{"name":"\n` + "\n" + `"}`, `key "name": not valid JSON`},
		{`{"name":"\n`, `key "name": not valid JSON`},
		{`{"name":"\`, `key "name": not valid JSON`},
		{`{"name":"\x"}`, `key "name": not valid JSON`},
		{`{"name":"\u12"}`, `key "name": not valid JSON`},
		{`{"name":"\u12g4"}`, `key "name": not valid JSON`},
		{`{"name":"\ud83d"}`, `key "name": not valid JSON`},
		{`{"name":"\ud83d\u0041"}`, `key "name": not valid JSON`},
		{`{"name":"\ude00"}`, `key "name": not valid JSON`},
		{"{\"name\":\"\xff\"}", `key "name": not valid JSON`},
		{`{"new":nul}`, `key "new": not valid JSON`},
		{`{"new":}`, `key "new": not valid JSON`},
		{`{"new":` + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1) + `}`, `key "new": not valid JSON`},
	} {
		if _, err := ParseRecord([]byte(tt.line)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.line, err, tt.want)
		}
	}
}

func TestParseRecordSkips(t *testing.T) {
	line := ` { "new" : [ 1 , -2.5e3 , "x\n" , true , null , { "a" : { } , "b" : [ ] } ] , "seq" : 5 } ` + "\r\n"
	if !json.Valid([]byte(line)) {
		t.Fatal("the test's line is not valid")
	}
	r, err := ParseRecord([]byte(line))
	if err != nil || diff(r, Record{Seq: 5}) != "" {
		t.Errorf("got %+v, %v", r, err)
	}
	deep := `{"new":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`
	if _, err := ParseRecord([]byte(deep)); err != nil {
		t.Errorf("depth %d: %v", maxDepth, err)
	}
}

// genRecord draws any record that the journal may hold.
func genRecord() *rapid.Generator[Record] {
	text := rapid.OneOf(rapid.Just(""), rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	addr := rapid.OneOf(
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 4, 4), func(b []byte) netip.Addr { a, _ := netip.AddrFromSlice(b); return a }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) netip.Addr { a, _ := netip.AddrFromSlice(b); return a.WithZone("eth0") }),
		rapid.Just(netip.Addr{}))
	when := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 253402300799).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC()
	})
	number := rapid.Float64Range(-1e308, 1e308)
	return rapid.Custom(func(t *rapid.T) Record {
		r := Record{
			Time: when.Draw(t, "time"), Seq: rapid.Uint64().Draw(t, "seq"), Boot: text.Draw(t, "boot"),
			UntrustedTime: rapid.Bool().Draw(t, "untrusted"), Plane: policy.Plane(rapid.IntRange(0, 7).Draw(t, "plane")),
			Event: Event(text.Draw(t, "event")), Reason: policy.Reason(rapid.IntRange(0, int(policy.TimeUntrusted)).Draw(t, "reason")),
			Client: addr.Draw(t, "client"), Class: text.Draw(t, "class"), Name: text.Draw(t, "name"),
			Port: rapid.Uint16().Draw(t, "port"), Proto: policy.Proto(rapid.IntRange(0, 3).Draw(t, "proto")),
			Qtype: text.Draw(t, "qtype"), Rcode: text.Draw(t, "rcode"), Service: text.Draw(t, "service"),
			Row: rapid.IntRange(0, 1<<31-1).Draw(t, "row"), Rule: text.Draw(t, "rule"), Policy: text.Draw(t, "policy"),
			Count: rapid.Uint64().Draw(t, "count"), Until: when.Draw(t, "until"),
			CNAME: rapid.SliceOf(text).Draw(t, "cname"), Up: rapid.Uint64().Draw(t, "up"), Down: rapid.Uint64().Draw(t, "down"),
			Ms: number.Draw(t, "ms"), OffsetMs: number.Draw(t, "offset"), Stale: rapid.Bool().Draw(t, "stale"),
			By: text.Draw(t, "by"), Detail: text.Draw(t, "detail"),
		}
		if r.Plane.Decides() {
			r.Verdict = policy.Verdict(rapid.IntRange(0, 2).Draw(t, "verdict"))
		}
		for _, a := range rapid.SliceOf(addr).Draw(t, "answers") {
			if a.IsValid() {
				r.Answers = append(r.Answers, a)
			}
		}
		if len(r.CNAME) == 0 {
			r.CNAME = nil
		}
		if a := addr.Draw(t, "dest"); a.IsValid() {
			r.Dest = netip.AddrPortFrom(a, rapid.Uint16().Draw(t, "destport"))
		}
		return r
	})
}

func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRecord().Draw(t, "record")
		line := r.AppendJSON(nil)
		if !json.Valid(line) || !utf8.Valid(line) {
			t.Fatalf("not valid JSON: %q", line)
		}
		back, err := ParseRecord(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if d := diff(r, back); d != "" {
			t.Fatalf("%s: %s", line, d)
		}
	})
}

// What ParseRecord takes is valid JSON, and is written again as what is read the same.
func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(fullLine))
	f.Add([]byte(`{"plane":"dns","verdict":"deny","name":"\u001b]0;\udcff\udcfe\ud83d\ude00\/"}`))
	f.Add([]byte(`{"new":{"a":[1,2.5e-3,null,true]},"time":"9999-12-31T23:59:59.999999999Z","client":"fe80::1%a%]"}`))
	f.Add([]byte(`{"dest":"[fe80::1%]:5]:443","answers":["::ffff:1.2.3.4"],"ms":1e-7,"offset_ms":-0}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseRecord(line)
		if err != nil {
			return
		}
		if !json.Valid(line) {
			t.Errorf("taken, but not valid JSON: %q", line)
		}
		if !r.Plane.Decides() {
			r.Verdict = policy.Deny // is not written
		}
		again := r.AppendJSON(nil)
		if !json.Valid(again) {
			t.Fatalf("written, but not valid JSON: %q", again)
		}
		back, err := ParseRecord(again)
		if err != nil {
			t.Fatalf("%q written as %q: %v", line, again, err)
		}
		if d := diff(r, back); d != "" {
			t.Errorf("%q written as %q: %s", line, again, d)
		}
	})
}
