package crash

import (
	"debug/elf"
	"debug/gosym"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"holdfast/tests/killat"
)

// TestBetweenCalls kills the gateway between a system call and the next one of that thread,
// at an instruction that is chosen at random: what it does there is in memory alone, a commit
// above all. The thread gets there step by step (PTRACE_SINGLESTEP): a time would nearly
// always be over before the first instruction or behind the last one, as it takes longer
// until a thread goes on than until it makes its next call. HOLDFAST_SEED has the choices of
// another run.
func TestBetweenCalls(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("HOLDFAST_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("HOLDFAST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	all, kills := []exchange{message("tls13")}, 3
	if thorough() {
		all, kills = []exchange{burst(), joining()}, 4
		for _, transport := range transports {
			all = append(all, message(transport), called(transport), fragmented(transport), stalled(transport), closing(transport))
		}
	}
	e := newEnumeration(t)
	in := newPlaces(t)
	for _, x := range all {
		t.Run(x.name, func(t *testing.T) { e.between(t, x, kills, random, in) })
	}
	e.done()
	in.log(t)
}

// between kills so often behind each kind of call of an exchange, at an instruction of a
// function that is chosen before it, so that short functions have their turn.
func (e *enumeration) between(t *testing.T, x exchange, kills int, random *rand.Rand, in *places) {
	k := e.count(t, x.name, func(o killat.Order) (*point, []killat.Call, error) { return e.r.do(x, o) })
	s := &stepping{e: e, t: t, x: x, in: in, faults: e.faults}
	for _, kind := range k.names {
		path := s.path(kind, 1+random.IntN(k.most[kind]))
		if len(path) == 0 {
			continue
		}
		steps := in.byFunction(path)
		for range kills {
			f := steps[random.IntN(len(steps))]
			s.killAt(path, f[random.IntN(len(f))])
		}
	}
}

// TestEveryInstructionOfTheJournal kills before each instruction of the package
// unixipc/journal between a system call and the next one of that thread; if it comes there
// again and again, before the first time and the last one.
func TestEveryInstructionOfTheJournal(t *testing.T) {
	every := 100
	all := []exchange{message("tls13")}
	if thorough() {
		every = 1
		all = append(all, called("tls12"), fragmented("ws"), stalled("tls13"))
	}
	e := newEnumeration(t)
	in := newPlaces(t)
	done := map[string]bool{} // by name of the call and instruction
	for _, x := range all {
		t.Run(x.name, func(t *testing.T) {
			k := e.count(t, x.name, func(o killat.Order) (*point, []killat.Call, error) { return e.r.do(x, o) })
			s := &stepping{e: e, t: t, x: x, in: in, faults: e.faults}
			for _, kind := range k.names {
				path := s.path(kind, 1)
				first, last := map[uint64]int{}, map[uint64]int{}
				for i, pc := range path {
					if strings.HasPrefix(in.function(pc), "holdfast/unixipc/journal.") {
						if _, is := first[pc]; !is {
							first[pc] = i
						}
						last[pc] = i
					}
				}
				var steps []int
				for pc, i := range first {
					if key := fmt.Sprint(strings.Fields(kind)[0], pc); !done[key] {
						done[key] = true
						if steps = append(steps, i); last[pc] != i {
							steps = append(steps, last[pc])
						}
					}
				}
				slices.Sort(steps)
				for i := 0; i < len(steps); i += every {
					s.killAt(path, steps[i])
				}
			}
		})
	}
	e.done()
	in.log(t)
}

// stepping kills amid an exchange, behind a system call.
type stepping struct {
	e      *enumeration
	t      *testing.T
	x      exchange
	in     *places
	order  killat.Order
	faults int // before
}

// path has the thread execute all that is behind the n-th call of a kind, and returns where
// that led.
func (s *stepping) path(kind string, n int) []uint64 {
	s.order = killat.Order{When: killat.Behind, Kind: kind, N: n}
	at := s.try()
	if at == nil {
		return nil
	}
	s.t.Logf("%s: behind no. %d of %s are %d instructions in %d functions", s.x.name, n, kind, len(at.Path), len(s.in.byFunction(at.Path)))
	return at.Path
}

// killAt has it killed before a step of that path.
func (s *stepping) killAt(path []uint64, step int) {
	s.order.At, s.order.Times = path[step], 0
	for _, pc := range path[:step+1] {
		if pc == s.order.At {
			s.order.Times++
		}
	}
	s.try()
}

func (s *stepping) try() *point {
	at, _, err := s.e.r.do(s.x, s.order)
	what := fmt.Sprintf("%+v", s.order)
	if at != nil {
		s.e.points++
		s.e.calls[at.Kind()]++
		what = fmt.Sprintf("%v, %d instructions behind it, %s", at, at.Steps, s.in.add(at))
		s.t.Logf("%s: %s", s.x.name, what)
	}
	if err != nil {
		s.e.fault(s.t, s.x.name, what, err)
	}
	if s.e.faults >= s.faults+maxFaults {
		s.t.Fatalf("%d faults: no more of this exchange", maxFaults)
	}
	return at
}

// places are functions of the gateway, and how often it was killed in them.
type places struct {
	table  *gosym.Table
	behind map[string]map[string]int // by kind of call
}

func newPlaces(t *testing.T) *places {
	t.Helper()
	b, err := killable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(b.gateway)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := f.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(lines, f.Section(".text").Addr))
	if err != nil {
		t.Fatal(err)
	}
	return &places{table, map[string]map[string]int{}}
}

// byFunction sorts steps by their function; functions are in the order of their first.
func (p *places) byFunction(path []uint64) (steps [][]int) {
	at := map[string]int{}
	for i, pc := range path {
		f := p.function(pc)
		if _, is := at[f]; !is {
			at[f] = len(steps)
			steps = append(steps, nil)
		}
		steps[at[f]] = append(steps[at[f]], i)
	}
	return steps
}

func (p *places) function(pc uint64) string {
	if f := p.table.PCToFunc(pc); f != nil {
		return f.Name
	}
	return "nowhere"
}

// add notes a kill, and says where it was.
func (p *places) add(at *point) string {
	pc := at.Path[len(at.Path)-1]
	group := p.function(pc)
	_, line, _ := p.table.PCToLine(pc)
	where := fmt.Sprintf("in %s:%d", group, line)
	if at.Next {
		group, where = beforeNext, beforeNext
	}
	if p.behind[at.Kind()] == nil {
		p.behind[at.Kind()] = map[string]int{}
	}
	p.behind[at.Kind()][group]++
	return where
}

const beforeNext = "before the next call"

// log tells them.
func (p *places) log(t *testing.T) {
	inside, all := 0, 0
	var b strings.Builder
	kinds := make([]string, 0, len(p.behind))
	for kind := range p.behind {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		in := p.behind[kind]
		names, sum := make([]string, 0, len(in)), 0
		for name, n := range in {
			names = append(names, name)
			sum += n
			if all += n; name != beforeNext {
				inside += n
			}
		}
		slices.SortFunc(names, func(a, b string) int { return in[b] - in[a] })
		fmt.Fprintf(&b, "\nbehind %s: %d", kind, sum)
		for _, name := range names {
			fmt.Fprintf(&b, "\n  %3d %s", in[name], name)
		}
	}
	t.Logf("%d kills, %d of them between calls%s", all, inside, b.String())
}
