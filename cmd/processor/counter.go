package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The counter is a file of one line: the first transaction id that is not
// leased yet, in 10 digits. It is read and written under flock, and is on the
// disk before an id below it is given out. The line is far smaller than a
// sector and always as long, so overwriting it in place leaves the old or the
// new one, whenever the power goes.
const (
	counterName = "transactions"
	counterLine = "%010d\n"
)

// epoch is where a new counter begins counting: at one id for each second since
// then. If the file is lost (its directory may be a tmpfs that a reboot
// empties), the next one begins beyond all ids of the last, as long as these
// were fewer than one per second on average. The ids last until 2093 that way.
var epoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// lockCounter opens the counter and waits for its lock. It is opened anew for
// every lease: a processor that kept it open would not see that it was replaced.
func lockCounter(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o660)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}

// readCounter returns the first id that is free. Of a damaged file it cannot
// tell, and guessing could give out an id twice: that is an error.
func readCounter(file *os.File, now time.Time) (int64, error) {
	b, err := io.ReadAll(io.LimitReader(file, 64))
	if err != nil {
		return 0, err
	}
	next := max(1, int64(now.Sub(epoch)/time.Second))
	if len(b) > 0 {
		next, err = strconv.ParseInt(strings.TrimSuffix(string(b), "\n"), 10, 64)
		if err != nil || next < 1 || string(b) != fmt.Sprintf(counterLine, next) {
			return 0, errors.New("damaged: it should hold the first free transaction id, in 10 digits")
		}
	}
	if next+leaseSize > math.MaxInt32 {
		return 0, errors.New("all transaction ids of 31 bits are used up")
	}
	return next, nil
}

// writeCounter returns when next is on the disk.
func writeCounter(file *os.File, next int64) error {
	fresh, err := file.Stat()
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(fmt.Appendf(nil, counterLine, next), 0); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if fresh.Size() > 0 {
		return nil
	}
	// A new file is safe only when its directory is.
	dir, err := os.Open(filepath.Dir(file.Name()))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
