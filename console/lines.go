package console

import (
	"bufio"
	"encoding/json"
	"net/http"
	"time"

	"tillgate/decision"
)

// maxStall is how long a client may leave a line unread before it is given up.
const maxStall = 15 * time.Second

// stepEvery is how often a client is told how far the reading is.
const stepEvery = 250 * time.Millisecond

// lines is a sink that writes newline-delimited JSON to a client.
type lines struct {
	http  http.ResponseWriter
	kind  string // Content-Type
	rc    *http.ResponseController
	w     *bufio.Writer // to Write
	buf   []byte
	told  time.Time // when it was told how far the reading is
	begun bool      // something was given to w or sent
}

func newLines(w http.ResponseWriter, kind string) *lines {
	l := &lines{http: w, kind: kind, rc: http.NewResponseController(w)}
	l.w = bufio.NewWriterSize(l, 16<<10)
	return l
}

func (l *lines) record(r *decision.Record) error {
	l.buf = append(r.AppendJSON(l.buf[:0]), '\n')
	return l.line(l.buf)
}

func (l *lines) damage(err error) error {
	text, err := json.Marshal(failure{err.Error()})
	if err != nil {
		return err
	}
	return l.line(append(text, '\n'))
}

// progress tells how far the reading of the journal is. It ends when nobody listens.
func (l *lines) progress(p decision.Progress) bool {
	if now := time.Now(); now.Sub(l.told) >= stepEvery {
		l.told = now
		text, err := json.Marshal(step{p})
		if err != nil || l.line(append(text, '\n')) != nil || l.flush() != nil {
			return false
		}
	}
	return true
}

// step is a line that tells how far the reading is.
type step struct {
	Progress decision.Progress `json:"progress"`
}

func (l *lines) line(text []byte) error {
	l.begin()
	_, err := l.w.Write(text)
	return err
}

// flush also sends the header where there is no record yet, so that a client
// knows that it is being served.
func (l *lines) flush() error {
	l.begin()
	if err := l.w.Flush(); err != nil {
		return err
	}
	l.extend()
	return l.rc.Flush()
}

func (l *lines) hasBegun() bool { return l.begun }

func (l *lines) begin() {
	if !l.begun {
		l.begun = true
		l.http.Header().Set("Content-Type", l.kind)
	}
}

// Write sends what is buffered, with a deadline of its own: the stream has no
// end to set one for.
func (l *lines) Write(p []byte) (int, error) {
	l.extend()
	return l.http.Write(p)
}

func (l *lines) extend() { l.rc.SetWriteDeadline(time.Now().Add(maxStall)) }
