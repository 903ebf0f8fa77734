// Command echo is both ends of the official suite's mesh tests: a server that says what it was asked, and, started as
// `client`, the program that the suite runs in a pod to send requests. Its output is what the suite's parser reads.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	run := serve
	if filepath.Base(os.Args[0]) == "client" {
		run = send
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "echo: %v\n", err)
		os.Exit(1)
	}
}
