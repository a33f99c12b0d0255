package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"tillgate/decision"
)

const (
	meterAfter = 500 * time.Millisecond // of waiting: what is quicker needs no meter
	meterEvery = 200 * time.Millisecond
	meterTold  = 5 * time.Second // how long a reading must have taken to be told of at its end
)

// A meter shows on a terminal how far the reading of the journal is, in a line that it
// takes away again. A nil meter shows nothing.
type meter struct {
	w            io.Writer
	now          func() time.Time
	began, shown time.Time
	visible      bool
	last         decision.Progress
}

// newMeter returns nil where w is no terminal.
func newMeter(w io.Writer, now func() time.Time) *meter {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &meter{w: w, now: now, began: now()}
}

func (m *meter) told(p decision.Progress) {
	now := m.now()
	m.last = p
	if now.Sub(m.began) < meterAfter || now.Sub(m.shown) < meterEvery {
		return
	}
	m.shown, m.visible = now, true
	text := fmt.Sprintf("tillgate: %s of journal to read", bytesText(p.Total))
	if p.Done > 0 && p.Total > 0 {
		left := time.Duration(float64(now.Sub(m.began)) * float64(p.Total-p.Done) / float64(p.Done))
		text = fmt.Sprintf("tillgate: %d %% of %s of journal read, about %s left", p.Done*100/p.Total, bytesText(p.Total), max(left.Round(time.Second), time.Second))
	}
	fmt.Fprintf(m.w, "\r%s\x1b[K", text)
}

// hide takes the line away before something else is written.
func (m *meter) hide() {
	if m != nil && m.visible {
		m.visible = false
		io.WriteString(m.w, "\r\x1b[K")
	}
}

// end says how long it took, if that was long.
func (m *meter) end() {
	m.hide()
	if m == nil {
		return
	}
	if took := m.now().Sub(m.began); took >= meterTold {
		fmt.Fprintf(m.w, "tillgate: %s of journal read in %s\n", bytesText(m.last.Total), took.Round(time.Second))
	}
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f kB", float64(n)/1e3)
}
