package main

import (
	"strings"
	"testing"
	"time"
)

// On a terminal a long reading tells how far it is, and leaves nothing behind.
func TestProgress(t *testing.T) {
	var w strings.Builder
	at := time.Date(2026, 11, 22, 7, 1, 0, 0, time.Local)
	p := progress{w: &w}
	for range 600 {
		p.reached(at)
	}
	p.end()
	p.end()
	if got, want := w.String(), "\rreading the journal: 2026-11-22 07:01, 512 records\r\x1b[K"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// What is no terminal is told nothing.
	quiet := newProgress(&w)
	w.Reset()
	for range 600 {
		quiet.reached(at)
	}
	if quiet.end(); w.Len() > 0 {
		t.Errorf("%q", w.String())
	}
}
