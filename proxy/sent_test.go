package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// closedAfter is a body that fails when it is read again after its end, as that of a
// request that net/http has closed.
type closedAfter struct {
	io.ReadCloser // none
	t             *testing.T
	ended         bool
}

func (b *closedAfter) Read(p []byte) (int, error) {
	if b.ended {
		b.t.Error("the body is read again after its end")
	}
	b.ended = true
	return copy(p, "hello"), io.EOF
}

// TestSentOnce: whoever looks for more after the end of a request's body finds the end.
func TestSentOnce(t *testing.T) {
	to := &answer{side: newHTTPSide(), control: http.NewResponseController(httptest.NewRecorder())}
	body := &sent{ReadCloser: &closedAfter{t: t}, answer: to, closed: make(chan struct{})}
	got, err := io.ReadAll(body)
	if string(got) != "hello" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	for range 2 {
		if n, err := body.Read(make([]byte, 8)); n != 0 || err != io.EOF {
			t.Errorf("%d, %v after the end", n, err)
		}
	}
}
