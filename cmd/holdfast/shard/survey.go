package shard

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"holdfast/cmd/holdfast/admin"
	"holdfast/relay"
)

// A Survey is what the chargers of a shard have waiting.
type Survey struct {
	Messages, Bytes, InFlight int
	Chargers, Paused, Offline int // of those that have something
	Oldest                    time.Duration
	GivenBack                 int // chargers whose oldest delivery was given back relay.ManyNacks times or more

	Unowned  Unowned
	Restless []admin.RestlessCharger // see MostRestless

	queues map[*relay.Link]int // deliveries that are not in flight, by owner
}

// Unowned is what chargers have waiting that no processor owns.
type Unowned struct {
	Messages, Chargers int
	Oldest             time.Duration
	Subprotocols       []string // of those chargers, sorted
}

// Add adds what another shard has.
func (u *Unowned) Add(more Unowned) {
	u.Messages += more.Messages
	u.Chargers += more.Chargers
	u.Oldest = max(u.Oldest, more.Oldest)
	for _, s := range more.Subprotocols {
		if at, found := slices.BinarySearch(u.Subprotocols, s); !found {
			u.Subprotocols = slices.Insert(u.Subprotocols, at, s)
		}
	}
}

// ManyConnections is how many connections of a charger must have begun without any
// processor having heard of one, for it to be restless. A network that fails for a while
// makes a few.
const ManyConnections = 10

// MostRestless returns those with the most connections, at most five.
func MostRestless(all []admin.RestlessCharger) []admin.RestlessCharger {
	slices.SortFunc(all, func(a, b admin.RestlessCharger) int {
		return cmp.Or(b.Connections-a.Connections, strings.Compare(a.Identity, b.Identity))
	})
	return all[:min(len(all), 5)]
}

// Survey looks at all chargers: a slice in each of several turns of the loop, which
// work is not held up by. It is for goroutines other than the loop's.
func (s *Shard) Survey(ctx context.Context) (*Survey, error) {
	sum := &Survey{queues: map[*relay.Link]int{}}
	for next := 0; ; {
		var err error
		if next, err = Ask(ctx, s, func() int { return s.Relay.Survey(next, sum.add) }); err != nil {
			return nil, err // and sum is the loop's
		}
		if next == 0 {
			return sum, nil
		}
	}
}

// Unacknowledged returns how many deliveries wait or are in flight. The loop must
// have ended.
func (s *Shard) Unacknowledged() int {
	sum := &Survey{queues: map[*relay.Link]int{}}
	for next := s.Relay.Survey(0, sum.add); next > 0; {
		next = s.Relay.Survey(next, sum.add)
	}
	return sum.Messages
}

func (sum *Survey) add(c *relay.Charger, waits relay.Waiting) {
	sum.Messages += waits.Messages
	sum.Bytes += waits.Bytes
	sum.InFlight += waits.InFlight
	sum.Oldest = max(sum.Oldest, waits.Age)
	sum.Chargers++
	if waits.GivenBack >= relay.ManyNacks {
		sum.GivenBack++
	}
	if waits.Paused {
		sum.Paused++
	}
	if _, connected := c.Conn(); !connected {
		sum.Offline++
	}
	if c.Owner() == nil && waits.Messages > 0 {
		sum.Unowned.Add(Unowned{waits.Messages, 1, waits.Age, []string{c.Subprotocol()}})
	}
	if waits.Connections >= ManyConnections {
		sum.Restless = MostRestless(append(sum.Restless, admin.RestlessCharger{
			Identity: c.Identity(), Connections: waits.Connections, Messages: waits.Messages, Seconds: waits.Age.Seconds(),
		}))
	}
	sum.queues[c.Owner()] += waits.Messages - waits.InFlight
}
