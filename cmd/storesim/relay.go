package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
)

// A door leads into the store, from a port of the machine to the same of the box.
type door struct {
	name string
	port int
}

var doors = []door{{"console", 8053}, {"proxy", 3128}}

// socket is a file, as these are the same in all namespaces of the network.
func (d door) socket(dir string) string { return filepath.Join(dir, d.name+".sock") }

// A relay passes connections on, half of a door. What is more than maxRelayed waits in the
// kernel.
type relay struct {
	from        net.Listener
	network, to string
}

const maxRelayed = 64

// serve ends with ctx, and all connections with it.
func (r *relay) serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { r.from.Close() })()
	places := make(chan struct{}, maxRelayed)
	var relayed sync.WaitGroup
	defer relayed.Wait()
	for {
		places <- struct{}{}
		c, err := r.from.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("taking connections: %w", err)
		}
		relayed.Go(func() {
			r.pass(ctx, c)
			<-places
		})
	}
}

func (r *relay) pass(ctx context.Context, a net.Conn) {
	defer a.Close()
	b, err := new(net.Dialer).DialContext(ctx, r.network, r.to)
	if err != nil {
		return // the store is ending, or not there yet: the client sees it closed
	}
	defer b.Close()
	defer context.AfterFunc(ctx, func() { a.Close(); b.Close() })()
	var back sync.WaitGroup
	back.Go(func() { pour(a, b) })
	pour(b, a)
	back.Wait()
}

// pour copies one way, and passes the end on.
func pour(to, from net.Conn) {
	io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}
