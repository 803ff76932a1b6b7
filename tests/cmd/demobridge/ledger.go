package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// seen is what the central systems noted.
type seen struct {
	came, repeated           int // CALLs of chargers; those that came more than once
	asked, answered, refused int
	cut                      int // CALLs to chargers whose connection was closed amid them: the bridge was released, or the charger moved
	killed                   int // CALLs to chargers that were under way when their asker was killed
}

// seen reads the ledgers, and prints what is in them. A CALL that no central system has
// seen, or whose asker lives and was not told, is an error.
func (s *stage) seen(sent int64) (all seen, err error) {
	fmt.Println("\nwhat the central systems saw")
	ids := map[string]int{}
	for i, cs := range []system{s.main, s.second} {
		one, open, err := read(cs.ledger, ids)
		if err != nil {
			return all, err
		}
		fmt.Printf("central system %d  %d CALLs came; %d CALLs made: %d answered, %d told that the charger had none of it, %d cut by the end of their connection, %d under way when it was killed\n",
			i+1, one.came, one.asked, one.answered, one.refused, one.cut, one.killed)
		if open > 0 {
			return all, fmt.Errorf("central system %d has not been told of %d CALLs", i+1, open)
		}
	}
	for _, n := range ids {
		if n > 1 {
			all.repeated++
		}
	}
	if int64(len(ids)) != sent {
		return all, fmt.Errorf("the chargers sent %d CALLs; the central systems have seen %d", sent, len(ids))
	}
	return all, nil
}

// read reads one ledger. open is how many CALLs of the last process have no answer.
func read(path string, ids map[string]int) (one seen, open int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return one, 0, err
	}
	defer f.Close()
	asked := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		what, id, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "start":
			one.killed += len(asked)
			clear(asked)
		case "came":
			one.came++
			ids[id]++
		case "asked":
			one.asked++
			asked[id] = true
		case "answered":
			one.answered++
			delete(asked, id)
		case "refused":
			one.refused++
			delete(asked, id)
		case "cut":
			one.cut++
			delete(asked, id)
		}
	}
	return one, len(asked), nil
}
