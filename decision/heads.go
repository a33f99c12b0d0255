package decision

import (
	"sync"
	"time"
)

// span is what of a compressed segment's summary says whether it is to be read.
type span struct {
	records  int
	last     uint64 // seq
	from, to time.Time
}

// maxHeads is how many segments' spans a journal remembers: 256 GB of records, more than
// any box keeps.
const maxHeads = 32768

// heads remembers the spans of compressed segments, which never change: a page that is
// open asks for the last hour again and again. A nil heads remembers nothing.
type heads struct {
	mu    sync.Mutex
	known map[uint64]span // by number
}

func (h *heads) span(dir string, number uint64) (span, error) {
	if h != nil {
		h.mu.Lock()
		s, ok := h.known[number]
		h.mu.Unlock()
		if ok {
			return s, nil
		}
	}
	sum, err := peek(dir, number)
	s := span{sum.Records, sum.Last, sum.From, sum.To}
	if h != nil && err == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.known == nil || len(h.known) == maxHeads {
			h.known = make(map[uint64]span)
		}
		h.known[number] = s
	}
	return s, err
}
