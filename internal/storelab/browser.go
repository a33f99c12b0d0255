package storelab

import (
	"context"
	"os"
	"path/filepath"
)

// Browser starts Chromium on a terminal, without a window and with a profile of its
// own that trusts the lab's CA and no setting of this machine. The arguments are
// further flags and the page to open. It runs until it is killed.
func (s *Store) Browser(t TB, term *Terminal, args ...string) *Process {
	t.Helper()
	Need(t, "chromium", "certutil")
	home, err := s.browserHome()
	if err != nil {
		t.Fatalf("making a home for Chromium: %v", err)
	}
	return term.Start(t, append([]string{"env", "-i", "PATH=" + os.Getenv("PATH"), "HOME=" + home,
		"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		// Else it would try the URLs of HTTP by HTTPS first.
		"--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable",
		"--user-data-dir=" + filepath.Join(home, "profile"),
	}, args...)...)
}

// browserHome makes a home folder where Chromium finds roots to trust: in the NSS
// database that it shares with other programs.
func (s *Store) browserHome() (dir string, err error) {
	if dir, err = os.MkdirTemp(s.dir, "home-"); err != nil {
		return "", err
	}
	nss := filepath.Join(dir, ".pki/nssdb")
	if err = os.MkdirAll(nss, 0o755); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"-N", "--empty-password"},
		{"-A", "-n", "storelab", "-t", "C,,", "-i", s.CA.File},
	} {
		argv := append([]string{"certutil", "-d", "sql:" + nss}, args...)
		if _, err = s.ground.Run(context.Background(), argv...); err != nil {
			return "", err
		}
	}
	return dir, nil
}
