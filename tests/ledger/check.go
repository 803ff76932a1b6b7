package ledger

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"holdfast/tests/sim"
)

// Summary is what a ledger says.
type Summary struct {
	Messages    int64          // whole lines
	Torn        int64          // lines cut short by the death of the processor
	Distinct    int64          // different messages
	Redelivered int64          // lines flagged so
	Chargers    int            // that appear
	Moves       int64          // a charger's message came to another processor than the one before
	By          map[string]int // lines of each processor
	Violations  int64
	First       []string // the first violations, in words
}

// maxViolations is how many violations a summary tells in words.
const maxViolations = 20

// Err is nil if the order was kept.
func (s Summary) Err() error {
	if s.Violations == 0 {
		return nil
	}
	return fmt.Errorf("%d violations of order: %s", s.Violations, strings.Join(s.First, "; "))
}

func (s *Summary) violate(format string, args ...any) {
	s.Violations++
	if len(s.First) < maxViolations {
		s.First = append(s.First, fmt.Sprintf(format, args...))
	}
}

type key struct {
	run     string
	charger int
}

// seen is what is known of one charger.
type seen struct {
	last  uint32              // the highest number so far; all below were seen
	again map[uint32]struct{} // numbers with a redelivered line
	owner string
}

// CheckFile checks the ledger at path.
func CheckFile(path string) (Summary, error) {
	f, err := os.Open(path)
	if err != nil {
		return Summary{}, err
	}
	defer f.Close()
	return Check(f)
}

// Check holds a ledger to the promise: of each charger, messages 1, 2, 3, … appear
// for the first time in this order, none is left out, and of two lines for one
// message at least one is flagged as redelivered.
func Check(r io.Reader) (Summary, error) {
	s := Summary{By: map[string]int{}}
	chargers := map[key]*seen{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 0 {
			continue
		}
		if len(f) < 4 {
			s.Torn++ // not acknowledged: it died before
			continue
		}
		if len(f) > 4 {
			return s, fmt.Errorf("not a line of a ledger: %q", lines.Text())
		}
		processor, identity, redelivered := f[0], f[1], f[3] == "r"
		id, ok := sim.ParseMessageID(f[2])
		if !ok {
			return s, fmt.Errorf("not a message id of a simulated charger: %q", f[2])
		}
		s.Messages++
		s.By[processor]++
		if redelivered {
			s.Redelivered++
		}
		k := key{id.Run, id.Charger}
		c := chargers[k]
		if c == nil {
			c = &seen{owner: processor, again: map[uint32]struct{}{}}
			chargers[k] = c
		}
		if c.owner != processor {
			c.owner = processor
			s.Moves++
		}
		_, flagged := c.again[id.Seq]
		if redelivered {
			c.again[id.Seq] = struct{}{}
		}
		switch {
		case id.Seq == c.last+1:
			c.last = id.Seq
			s.Distinct++
		case id.Seq > c.last:
			s.violate("%s: number %d came to %s after %d", identity, id.Seq, processor, c.last)
			c.last = id.Seq
			s.Distinct++
		case !redelivered && !flagged:
			s.violate("%s: number %d came to %s again, not flagged, after %d", identity, id.Seq, processor, c.last)
		}
	}
	s.Chargers = len(chargers)
	return s, lines.Err()
}
