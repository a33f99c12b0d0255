package bench

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// Relay answers CONNECT and copies: what Go's splice(2) does where nothing is
// decided, checked, bounded or recorded. It returns when it cannot listen.
func Relay(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go relay(c.(*net.TCPConn))
	}
}

func relay(client *net.TCPConn) {
	defer client.Close()
	r := bufio.NewReader(client)
	request, err := http.ReadRequest(r)
	if err != nil || request.Method != http.MethodConnect {
		return
	}
	c, err := net.Dial("tcp", request.Host)
	if err != nil {
		return
	}
	server := c.(*net.TCPConn)
	defer server.Close()
	io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	early, _ := r.Peek(r.Buffered())
	if _, err := server.Write(early); err != nil {
		return
	}
	up := make(chan struct{})
	go func() {
		defer close(up)
		io.Copy(server, client)
		server.CloseWrite()
	}()
	io.Copy(client, server)
	client.CloseWrite()
	<-up
}
