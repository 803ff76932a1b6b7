// Package procfs reads what processes and cores have used, from the kernel.
package procfs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is CPU time used, since some start.
type Usage struct {
	Watched time.Duration // by the processes watched
	Self    time.Duration // by this process
	Core    time.Duration // of one core, by anybody
	Stolen  time.Duration // of that core, by the hypervisor
}

// Sub returns what was used between before and u.
func (u Usage) Sub(before Usage) Usage {
	return Usage{u.Watched - before.Watched, u.Self - before.Self, u.Core - before.Core, u.Stolen - before.Stolen}
}

// Sample reads the usage of pids, together, and of core.
func Sample(pids []int, core int) (u Usage, err error) {
	for _, pid := range pids {
		used, err := CPU(pid)
		if err != nil {
			return Usage{}, err
		}
		u.Watched += used
	}
	if u.Self, err = CPU(os.Getpid()); err != nil {
		return Usage{}, err
	}
	u.Core, u.Stolen, err = coreTime(core)
	return u, err
}

// CPU returns the user and system time of all threads of a process: the sum
// that /proc/PID/stat shows as utime and stime in steps of 10 ms, in
// nanoseconds, from the process's CPU clock.
func CPU(pid int) (time.Duration, error) {
	// Clock id of another process, as in clock_getcpuclockid(3).
	const sched = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// clockTick is the unit of /proc/stat: USER_HZ is 100 on every Linux.
const clockTick = 10 * time.Millisecond

// coreTime reads the line of one core in /proc/stat.
func coreTime(core int) (busy, stolen time.Duration, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 9 || f[0] != fmt.Sprintf("cpu%d", core) {
			continue
		}
		// cpuN user nice system idle iowait irq softirq steal
		for i, s := range f[1:9] {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return 0, 0, fmt.Errorf("/proc/stat: %w", err)
			}
			switch i {
			case 3, 4:
			case 7:
				stolen = time.Duration(n) * clockTick
			default:
				busy += time.Duration(n) * clockTick
			}
		}
		return busy, stolen, nil
	}
	return 0, 0, fmt.Errorf("/proc/stat has no core %d", core)
}
