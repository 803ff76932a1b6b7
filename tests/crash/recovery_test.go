package crash

import (
	"fmt"
	"testing"

	"holdfast/tests/killat"
)

// TestEveryCallOfARecovery kills a gateway amid an exchange, and the next one before and
// after each system call that matters of its start: the third finds what the second has
// found, or what that has made valid.
func TestEveryCallOfARecovery(t *testing.T) {
	type first struct {
		x    exchange
		when killat.When
		kind string
		n    int
	}
	all := []first{{message("tls13"), killat.After, "recvmmsg (charger)", 1}} // read, and not handled for good
	if thorough() {
		all = append(all,
			first{burst(), killat.After, "recvmmsg (charger)", 2},
			first{called("tls12"), killat.Before, "sendmmsg (charger)", 1}, // written down, and not written
			first{stalled("ws"), killat.After, "sendmmsg (charger)", 1},    // partly written
			first{stalled("tls13"), killat.After, "sendmmsg (charger)", 2},
			first{fragmented("tls12"), killat.After, "recvmmsg (charger)", 4},
			first{closing("tls13"), killat.After, "sendmmsg (charger)", 1},
			first{message("ws"), killat.After, "recvmmsg (processor)", 1})
	}
	whens := []killat.When{killat.After} // which is nearly before the next one
	if thorough() {
		whens = append(whens, killat.Before)
	}
	e := newEnumeration(t)
	for _, f := range all {
		o := killat.Order{When: f.when, Kind: f.kind, N: f.n}
		name := fmt.Sprintf("%s, killed %s no. %d of %s", f.x.name, f.when, f.n, f.kind)
		t.Run(name, func(t *testing.T) {
			e.enumerate(t, f.x.name, func(second killat.Order) (*point, []killat.Call, error) { return e.r.doTwice(f.x, o, second) }, whens...)
		})
	}
	e.done()
}

// doTwice is do for an exchange amid which the gateway is killed, with an order for the
// next one from its start on.
func (r *rig) doTwice(x exchange, o, second killat.Order) (*point, []killat.Call, error) {
	r.mu.Lock()
	r.first = second
	r.mu.Unlock()
	tr, failed, err := r.begin(x, o)
	if err != nil {
		return nil, nil, err
	}
	if m, err := r.report(tr); err != nil || m.Killed == nil {
		return nil, nil, fmt.Errorf("not killed the first time: %+v: %w, %w", m, err, failed)
	}
	return r.finish(<-r.started, failed)
}
