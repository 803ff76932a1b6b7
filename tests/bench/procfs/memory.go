package procfs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory of a process, bytes: PSS, each shared page counted in shares.
type Memory struct {
	PSS  int64 `json:"pss"`
	Anon int64 `json:"anon"` // of PSS: heap and stacks
	File int64 `json:"file"` // of PSS: the program itself
}

// Sub returns the growth from before to m.
func (m Memory) Sub(before Memory) Memory {
	return Memory{m.PSS - before.PSS, m.Anon - before.Anon, m.File - before.File}
}

// ReadMemory reads /proc/PID/smaps_rollup.
func ReadMemory(pid int) (Memory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return Memory{}, err
	}
	var m Memory
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("smaps_rollup: %w", err)
		}
		switch f[0] {
		case "Pss:":
			m.PSS = n << 10
		case "Pss_Anon:":
			m.Anon = n << 10
		case "Pss_File:":
			m.File = n << 10
		}
	}
	if m.PSS == 0 {
		return Memory{}, fmt.Errorf("smaps_rollup of process %d has no Pss", pid)
	}
	return m, nil
}

// Children returns the processes that pid has started and that live.
func Children(pid int) ([]int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, s := range strings.Fields(string(b)) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("children of process %d: %w", pid, err)
		}
		pids = append(pids, n)
	}
	return pids, nil
}
