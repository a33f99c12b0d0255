package storelab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Scripts writes a script for each host that stands, and returns their folder:
// what runs `dig example.com` on sunmi-1 is `FOLDER/sunmi-1 dig example.com`. By it programs
// trust the store's authority.
func (s *Store) Scripts() (dir string, err error) {
	dir = filepath.Join(s.dir, "on")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	for _, h := range s.hosts {
		words := append(h.dressed("nsenter", "--net="+h.path()), "env", "SSL_CERT_FILE="+s.CA.File)
		if h == s.Box.Host {
			words = append(words, s.Box.Env...)
		}
		for i, w := range words {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		text := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"\n", strings.Join(words, " "))
		if err := os.WriteFile(filepath.Join(dir, h.Name), []byte(text), 0o755); err != nil {
			return "", err
		}
	}
	return dir, nil
}
