package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestInformational: what an origin says before its answer comes whole, also while the
// client is told to send its body. The race detector is what tells.
func TestInformational(t *testing.T) {
	const goOn, hint = "HTTP/1.1 100 Continue" + crlf2, "HTTP/1.1 103 Early Hints\r\nLink: x" + crlf2
	const answer = "HTTP/1.1 204 No Content\r\nConnection: close" + crlf2
	for range 20 {
		s := newStore(t, func(c net.Conn) {
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(c, goOn+hint+hint+hint)
			io.Copy(io.Discard, r.Body)
			io.WriteString(c, "HTTP/1.1 204 No Content"+crlf2)
		})
		got := s.explicit().ask("POST http://check.example/ HTTP/1.1\r\nHost: check.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n" + lastRequest + "hello")
		if rest := strings.Replace(got, goOn, "", 1); len(rest) == len(got) || rest != hint+hint+hint+answer {
			t.Fatalf("%q", got)
		}
	}
}
