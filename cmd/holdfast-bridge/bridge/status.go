package bridge

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/cmd/holdfast-bridge/route"
)

// Status is what a bridge has.
type Status struct {
	Chargers  int `json:"chargers"`
	Connected int `json:"connected"` // to their central systems
	Waiting   int `json:"waiting"`   // messages of chargers, here
	Calls     int `json:"calls"`     // CALLs that chargers have not answered

	RoundTrips RoundTrips `json:"round_trips"`

	Routes []RouteStatus `json:"routes"`
	// Without are chargers that are not connected, those for the longest time first,
	// at most maxWithout.
	Without []ChargerStatus `json:"without,omitempty"`
}

// RouteStatus is what belongs to a route.
type RouteStatus struct {
	Glob      string `json:"glob"`
	URL       string `json:"url"`
	Chargers  int    `json:"chargers"`
	Connected int    `json:"connected"`
	Why       string `json:"why,omitempty"` // the last of them is not connected
}

// ChargerStatus is a charger that is not connected to its central system.
type ChargerStatus struct {
	Identity string `json:"identity"`
	Upstream string `json:"upstream"`
	Seconds  int    `json:"seconds"`
	Why      string `json:"why"`
}

const maxWithout = 20

// RoundTrips are the CALLs that central systems have answered, since the bridge started.
type RoundTrips struct {
	Count   int64   `json:"count"`
	Mean    float64 `json:"mean_seconds"`
	Longest float64 `json:"longest_seconds"`
}

// roundTrips are counted by all chargers.
type roundTrips struct{ count, sum, longest atomic.Int64 } // the latter two in nanoseconds

func (r *roundTrips) add(d time.Duration) {
	r.count.Add(1)
	r.sum.Add(int64(d))
	for was := r.longest.Load(); int64(d) > was && !r.longest.CompareAndSwap(was, int64(d)); {
		was = r.longest.Load()
	}
}

func (r *roundTrips) status() (s RoundTrips) {
	s.Count = r.count.Load()
	s.Mean = time.Duration(r.sum.Load() / max(s.Count, 1)).Seconds()
	s.Longest = time.Duration(r.longest.Load()).Seconds()
	return s
}

// Chargers returns how many chargers there are.
func (b *Bridge) Chargers() int { return int(b.count.Load()) }

// Status asks every charger.
func (b *Bridge) Status() (s Status) {
	routes := b.routes.Load()
	s.RoundTrips = b.trips.status()
	for _, r := range routes.Routes {
		s.Routes = append(s.Routes, RouteStatus{Glob: r.Glob, URL: r.URL})
	}
	var mu sync.Mutex
	b.each(func(c *session) {
		mu.Lock()
		defer mu.Unlock()
		s.Chargers++
		s.Calls += len(c.calls)
		if c.waiting != nil {
			s.Waiting++
		}
		i := slices.IndexFunc(routes.Routes, func(r route.Route) bool { return r.Matches(c.identity, c.opened.Subprotocol) })
		if i >= 0 {
			s.Routes[i].Chargers++
		}
		if c.up != nil {
			s.Connected++
			if i >= 0 {
				s.Routes[i].Connected++
			}
			return
		}
		if i >= 0 {
			s.Routes[i].Why = c.why
		}
		s.Without = append(s.Without, ChargerStatus{c.identity, c.target.URL, int(time.Since(c.since).Seconds()), c.why})
	})
	mu.Lock() // those that are stuck may come yet
	defer mu.Unlock()
	s.Routes, s.Without = slices.Clone(s.Routes), slices.Clone(s.Without)
	slices.SortFunc(s.Without, func(a, b ChargerStatus) int {
		if a.Seconds != b.Seconds {
			return b.Seconds - a.Seconds
		}
		return strings.Compare(a.Identity, b.Identity)
	})
	s.Without = s.Without[:min(len(s.Without), maxWithout)]
	return s
}
