package proxy

import (
	"context"
	"net"
)

// tunnel relays between client and server until both are done, and writes the record
// of the end. The early bytes are what the client sent already. It closes both.
func (p *Proxy) tunnel(ctx context.Context, a *attempt, client *net.TCPConn, early []byte, server *net.TCPConn) {
	defer client.Close()
	defer server.Close()
}
