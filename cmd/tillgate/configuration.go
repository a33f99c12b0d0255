package main

import (
	"crypto/sha256"
	"errors"

	"tillgate/internal/strictyaml"
	"tillgate/policy"
)

// configurationError is what is wrong with the files.
type configurationError struct {
	dir  string
	err  error // strictyaml.Problems where they could be read
	next string
}

// noRules is a configuration of which rules of the firewall can't be made as it is.
type noRules struct {
	dir string
	err error
}

func (e noRules) Error() string {
	return "no rules are made of the configuration in " + e.dir + ": " + e.err.Error()
}

func (e configurationError) Error() string {
	text := "the configuration in " + e.dir + " is not good:\n"
	var problems strictyaml.Problems
	if errors.As(e.err, &problems) {
		for _, p := range problems {
			text += "  " + p.Error() + "\n"
		}
	} else {
		text += "  " + e.err.Error() + "\n"
	}
	return text + e.next
}

func isConfiguration(err error) bool {
	var c configurationError
	var r noRules
	return errors.As(err, &c) || errors.As(err, &r)
}

// fixFiles is what to do when nothing is started.
const fixFiles = "Nothing is started. Correct the files; tillgate policy check tries them."

// readConfiguration reads tillgate.yaml. Where that is bad, the error also
// holds what is wrong with the policy: all is told at once.
func readConfiguration(dir string) (settings, error) {
	if dir == "" {
		return defaultSettings(), nil
	}
	s, problems := readSettings(dir)
	if len(problems) == 0 {
		return s, nil
	}
	var more strictyaml.Problems
	if _, err := policy.Load(dir); errors.As(err, &more) {
		problems = append(problems, more...)
	}
	return s, configurationError{dir, problems.Err(), fixFiles}
}

// readSettings reads tillgate.yaml of a folder. Where there is none, the
// defaults are in force.
func readSettings(dir string) (settings, strictyaml.Problems) {
	data, err := policy.ReadFile(dir, settingsFile)
	var problem strictyaml.Problem
	switch {
	case errors.As(err, &problem):
		return defaultSettings(), strictyaml.Problems{problem}
	case err != nil: // there is none
		return defaultSettings(), nil
	}
	s, problems := parseSettings(data)
	s.hash = hashSettings(data, nil)
	return s, problems
}

// hashSettings is zero where the file is not there or cannot be read.
func hashSettings(data []byte, err error) (hash [sha256.Size]byte) {
	if err != nil {
		return hash
	}
	return sha256.Sum256(data)
}
