// Package decision keeps what the box decided: one record for every decision,
// with its reason, in a journal that shows when it was changed.
//
// # From a plane to the disk
//
// A plane asks [Journal.Repeat] first, which costs no memory, and gives a full
// [Journal.Record] if that was no repeat. The record has its seq at once, is
// told to those who [Journal.Subscribe], and waits in memory. Every [Config.Sync]
// what waits is appended to the last segment, sealed and flushed, with the
// repeats that were counted so far: a power cut loses no more than that. A plane that
// counts repeats by itself is asked for them before ([Config.Settle]).
//
// A disk that is full, read-only or broken, or that does not answer, stops
// nothing. Records wait, up to a bound; further ones are counted.
// [Journal.Health] says so at once, and so does the journal as soon as it can:
// a record of event gap stands for those that are lost.
//
// # Format
//
// A journal is a folder of segments, 00000001.jsonl and so on, numbered without
// a gap. Full ones are compressed: 00000001.jsonl.zst, from which zstd -dc gives
// the plain one. Every line of a segment is a JSON object:
//
//   - a header, the first line, which begins with {"segment":
//   - records, see [Record.AppendJSON]
//   - seals, {"seal":"<64 hex digits>"}, one after every batch of records
//
// A seal is the SHA-256 of the seal before it (its 64 hex digits and a line
// end) and of all lines after that one. The first of a segment covers the
// header, too; the seal before it is the last of the segment before, which the
// header repeats, and 64 zeros in the first segment. So where lines 15 and 40 of
// a file F are seals, this prints the one on line 40:
//
//	{ sed -n 15p F | cut -d'"' -f4; sed -n 16,39p F; } | sha256sum
//
// and this the one on line 15, if it is the first of the segment:
//
//	{ sed -n 1p F | grep -o '"seal":"[^"]*' | cut -d'"' -f4; sed -n 1,14p F; } | sha256sum
//
// Every run of the box begins a segment, and so does a write after one that
// failed. What a crash left behind the last seal then, the tail, stays as it is,
// and the new header binds it by its length and SHA-256.
//
// [Verify] shows every change but two: an end that was cut off whole, and seals
// that were all made anew from some place on. Against both, note the last seal
// elsewhere.
//
// A compressed segment begins with three skippable frames, its summary, its rollup
// and its [Digest], from which reports are made without reading the records.
package decision
