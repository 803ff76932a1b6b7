package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"holdfast/conn"
)

// printVersion tells what this program is, and which upgrades and downgrades it can
// take part in: those between programs that read what the other writes.
func printVersion(w io.Writer) {
	commit, modified := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = ", modified"
			}
		}
	}
	reads := make([]string, len(conn.StateVersions))
	for i, v := range conn.StateVersions {
		reads[i] = fmt.Sprint(v)
	}
	fmt.Fprintf(w, "holdfast %s\ncommit %s%s\n%s %s/%s\nhands over state of version %d, takes over %s\n",
		version, commit, modified, runtime.Version(), runtime.GOOS, runtime.GOARCH, conn.StateVersion, strings.Join(reads, ", "))
}

func runVersion(i *invocation) error {
	printVersion(i.stdout)
	return nil
}
