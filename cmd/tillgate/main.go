// Command tillgate is a store's edge box, and the command line that asks it
// what it does.
package main

import (
	"os"

	// A router may have no CA bundle. This is the one package whose init is
	// wanted: it gives crypto/x509 roots for when the system has none.
	_ "golang.org/x/crypto/x509roots/fallback"
)

func main() {
	os.Exit(execute(os.Args[1:], process{
		stdout: os.Stdout,
		stderr: os.Stderr,
		getenv: os.Getenv,
	}))
}
