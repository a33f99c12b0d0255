package main

import (
	"fmt"
	"os"

	"go.uber.org/goleak"
)

// leaked is the exit status of a program that has done its work and left goroutines
// behind. It is none of the program's own.
const leaked = 70

// mainWithoutLeaks is main, with a look at what still runs when it is done. So a box
// that a test stops, and that ends with status 0, has stopped all that it had started.
func mainWithoutLeaks() {
	p := process{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	inLab(&p)
	status := execute(os.Args[1:], p)
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "tillgate:", err)
		status = leaked
	}
	os.Exit(status)
}
