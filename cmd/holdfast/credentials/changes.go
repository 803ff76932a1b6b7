package credentials

import (
	"os"
	"slices"
	"syscall"
	"time"
)

// watchInterval is how often files are looked at: a stat each.
const watchInterval = 2 * time.Second

// watchFiles calls changed, from a goroutine of its own, when any of the files
// has become another one.
func watchFiles(files []string, changed func()) {
	if len(files) == 0 {
		return
	}
	before := stampsOf(files)
	go func() {
		for range time.Tick(watchInterval) {
			if now := stampsOf(files); !slices.Equal(before, now) {
				before = now
				changed()
			}
		}
	}()
}

// stamp tells the versions of a file apart, also of one that was renamed into
// its place in the same second.
type stamp struct {
	modified, changed syscall.Timespec
	size              int64
	inode             uint64
}

func stampsOf(files []string) []stamp {
	all := make([]stamp, len(files))
	for i, f := range files {
		all[i], _ = stampOf(f)
	}
	return all
}

// stampOf returns the stamp of a file; if there is none, an error and the zero stamp.
func stampOf(file string) (stamp, error) {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}, err
	}
	s := info.Sys().(*syscall.Stat_t)
	return stamp{s.Mtim, s.Ctim, s.Size, s.Ino}, nil
}
