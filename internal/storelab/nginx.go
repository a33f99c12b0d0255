package storelab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Web is nginx as the origin of names of the Internet: HTTPS on port 443 and
// HTTP on port 80, at each name's own addresses and with its own certificate.
//
// A path under which Root has no file is answered with "served NAME PATH", NAME
// being that of the addresses which the request came to: it says that the request
// went to the right place. Pages of other origins may read every answer (CORS).
type Web struct {
	Root string // of the files that each name serves

	process *Process
}

// The log goes to standard output, where the lab keeps it. One process and not a
// master with workers: those would outlive it when it is killed.
const nginxConfig = `daemon off;
master_process off;
pid "%[1]s/pid";
error_log stderr notice;
events { worker_connections 4096; }
http {
	log_format seen "seen $server_name:$server_port $request_method $scheme://$host$request_uri";
	access_log /dev/stdout seen;
	client_body_temp_path "%[1]s/body";
	proxy_temp_path "%[1]s/proxy";
	fastcgi_temp_path "%[1]s/fastcgi";
	uwsgi_temp_path "%[1]s/uwsgi";
	scgi_temp_path "%[1]s/scgi";
	server_names_hash_bucket_size 256;
	types { text/html html; }
	default_type text/plain;
	root "%[2]s";
	add_header Access-Control-Allow-Origin *;
	expires -1;
%[3]s}
`

const nginxServer = `	server {
		listen %[2]s:443 ssl http2;
		listen [%[3]s]:443 ssl http2;
		listen %[2]s:80;
		listen [%[3]s]:80;
		server_name %[1]s;
		ssl_certificate "%[4]s";
		ssl_certificate_key "%[5]s";
		location / { try_files $uri @say; }
		location @say { return 200 "served %[1]s $request_uri"; }
	}
`

// Web starts nginx behind names that the store was made with, but for dns.google,
// which is unbound, and returns when it answers.
func (s *Store) Web(t TB, names ...string) *Web {
	t.Helper()
	Need(t, "nginx")
	dir := filepath.Join(s.dir, "nginx")
	web := &Web{Root: filepath.Join(dir, "root")}
	config, err := s.nginxConfig(dir, web.Root, names)
	if err == nil {
		err = os.MkdirAll(web.Root, 0o755)
	}
	file := filepath.Join(dir, "nginx.conf")
	if err == nil {
		err = os.WriteFile(file, []byte(config), 0o644)
	}
	if err != nil {
		t.Fatalf("configuring nginx: %v", err)
	}
	web.process = s.Internet.Start(t, "nginx", "-e", "stderr", "-p", dir, "-c", file)
	web.process.WaitFor(t, "event method") // it has bound them all by then
	return web
}

func (s *Store) nginxConfig(dir, root string, names []string) (string, error) {
	var servers strings.Builder
	for _, name := range names {
		a, ok := s.Internet.addrs[name]
		if !ok {
			return "", fmt.Errorf("the store was made without the name %s", name)
		}
		if name == "dns.google" {
			continue
		}
		cert, key, err := s.CA.Certificate(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&servers, nginxServer, name, a[0], a[1], cert, key)
	}
	return fmt.Sprintf(nginxConfig, dir, root, &servers), nil
}

// Seen returns the requests that have come so far, in order, as
// "NAME:PORT METHOD SCHEME://HOST/PATH": to where, and for what.
func (w *Web) Seen() []string {
	var seen []string
	for line := range strings.Lines(w.process.Output()) {
		if rest, ok := strings.CutPrefix(line, "seen "); ok {
			seen = append(seen, strings.TrimSuffix(rest, "\n"))
		}
	}
	return seen
}

// WaitFor waits until a request has come whose line, as of Seen, has the text.
func (w *Web) WaitFor(t TB, text string) {
	t.Helper()
	w.process.WaitFor(t, text)
}
