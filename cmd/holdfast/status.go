package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"holdfast/cmd/holdfast/metrics"
	"holdfast/conn"
	"holdfast/relay"
)

// gatewayStatus is what `holdfast status` shows.
type gatewayStatus struct {
	Version      string         `json:"version"`
	PID          int            `json:"pid"`
	Started      time.Time      `json:"started"` // this process
	Since        time.Time      `json:"since"`   // the first of those that upgraded each other
	ShuttingDown bool           `json:"shutting_down,omitempty"`
	Listen       []string       `json:"listen"`
	Connections  int            `json:"connections"`
	Limit        int            `json:"connections_limit"`
	Kinds        []kindStatus   `json:"kinds"`
	Queue        queueStatus    `json:"queue"`
	Links        []linkStatus   `json:"links"`
	LastUpgrade  *upgradeReport `json:"last_upgrade"`
}

type kindStatus struct {
	Subprotocol string `json:"subprotocol"`
	TLS         string `json:"tls"`
	Connections int    `json:"connections"`
}

// queueStatus is about deliveries that no processor has acknowledged.
type queueStatus struct {
	Messages      int     `json:"messages"`
	Bytes         int     `json:"bytes"`
	InFlight      int     `json:"in_flight"` // those that a processor has
	OldestSeconds float64 `json:"oldest_seconds"`
	Chargers      int     `json:"chargers"` // who have any
	Paused        int     `json:"paused"`   // chargers that are not read from because of it
	Offline       int     `json:"offline"`  // chargers of whom there are some, but no connection
}

type linkStatus struct {
	Processor string `json:"processor"`
	PID       int    `json:"pid"`
	UID       int    `json:"uid"`
	Loop      int    `json:"loop"`
	Link      uint32 `json:"link"`
	Chargers  int    `json:"chargers"`
	InFlight  int    `json:"in_flight"`
	Window    int    `json:"window"`
	Queue     int    `json:"queue"`     // deliveries of its chargers that it does not have yet
	Unwritten int    `json:"unwritten"` // bytes that it does not read
	Draining  bool   `json:"draining,omitempty"`
	Operator  bool   `json:"operator,omitempty"` // a command, and no processor
	AskOnly   bool   `json:"ask_only,omitempty"` // takes no deliveries
}

// status answers GET /status.
func (a *admin) status(w http.ResponseWriter, r *http.Request) {
	s, err := a.g.status(r.Context())
	answer(w, s, err)
}

func (g *gateway) status(ctx context.Context) (*gatewayStatus, error) {
	s := &gatewayStatus{
		Version: g.version, PID: os.Getpid(), Started: g.began, Since: g.since, ShuttingDown: g.gate.Over(),
		Limit: g.cfg.MaxConnections, LastUpgrade: g.last.Load(), Links: []linkStatus{}, Kinds: []kindStatus{},
	}
	for _, l := range g.chargers {
		s.Listen = append(s.Listen, l.Addr().String())
	}
	for _, w := range g.worlds {
		part, err := ask(ctx, w, w.status)
		if err != nil {
			return nil, err
		}
		s.add(part)
	}
	slices.SortFunc(s.Links, func(a, b linkStatus) int {
		return cmp.Or(strings.Compare(a.Processor, b.Processor), a.Loop-b.Loop, cmp.Compare(a.Link, b.Link))
	})
	slices.SortFunc(s.Kinds, func(a, b kindStatus) int {
		return cmp.Or(strings.Compare(a.Subprotocol, b.Subprotocol), strings.Compare(a.TLS, b.TLS))
	})
	return s, nil
}

// add adds one loop's part.
func (s *gatewayStatus) add(part gatewayStatus) {
	for _, k := range part.Kinds {
		s.Connections += k.Connections
		i := slices.IndexFunc(s.Kinds, func(o kindStatus) bool { return o.Subprotocol == k.Subprotocol && o.TLS == k.TLS })
		if i < 0 {
			s.Kinds = append(s.Kinds, k)
		} else {
			s.Kinds[i].Connections += k.Connections
		}
	}
	s.Links = append(s.Links, part.Links...)
	q, p := &s.Queue, part.Queue
	q.Messages += p.Messages
	q.Bytes += p.Bytes
	q.InFlight += p.InFlight
	q.Chargers += p.Chargers
	q.Paused += p.Paused
	q.Offline += p.Offline
	q.OldestSeconds = max(q.OldestSeconds, p.OldestSeconds)
}

// status is the part of one world. It runs on the loop.
func (w *world) status() (s gatewayStatus) {
	w.relay.SetNow(w.loop.Now())
	for k, n := range w.counters.Kinds {
		if n.Held > 0 {
			s.Kinds = append(s.Kinds, kindStatus{k.Subprotocol, k.TLS, n.Held})
		}
	}
	queues := map[*relay.Link]int{}
	w.relay.Survey(func(c *relay.Charger, waits relay.Waiting) {
		q := &s.Queue
		q.Messages += waits.Messages
		q.Bytes += waits.Bytes
		q.InFlight += waits.InFlight
		q.OldestSeconds = max(q.OldestSeconds, waits.Age.Seconds())
		q.Chargers++
		if waits.Paused {
			q.Paused++
		}
		if _, connected := c.Conn(); !connected {
			q.Offline++
		}
		queues[c.Owner()] += waits.Messages - waits.InFlight
	})
	for l, own := range w.links {
		who := peerOfFD(own.source.Fd())
		s.Links = append(s.Links, linkStatus{
			Processor: l.Name(), PID: who.pid, UID: who.uid, Loop: w.index, Link: l.ID(),
			Chargers: l.Chargers(), InFlight: l.InFlight(), Window: l.Window(), Queue: queues[l],
			Unwritten: len(l.Unwritten()), Draining: l.Draining(), Operator: l.Operator(), AskOnly: l.AskOnly(),
		})
	}
	return s
}

// chargerStatus is a line of `holdfast list`.
type chargerStatus struct {
	Identity    string    `json:"identity"`
	Subprotocol string    `json:"subprotocol"`
	TLS         string    `json:"tls"`
	Remote      string    `json:"remote"`
	Opened      time.Time `json:"opened"`
	Processor   string    `json:"processor,omitempty"` // the owner
	Queue       int       `json:"queue"`               // deliveries that no processor has acknowledged
	Paused      bool      `json:"paused,omitempty"`    // not read from
}

// chargers answers GET /chargers with one chargerStatus in JSON a line, sorted.
func (a *admin) chargers(w http.ResponseWriter, r *http.Request) {
	pattern := cmp.Or(r.FormValue("glob"), "*")
	if _, err := path.Match(pattern, ""); err != nil || len(pattern) > maxGlob {
		http.Error(w, fmt.Sprintf("%q is no pattern of at most %d bytes: %v", pattern, maxGlob, err), http.StatusBadRequest)
		return
	}
	var all []chargerStatus
	for _, world := range a.g.worlds {
		found, err := ask(r.Context(), world, func() []uint64 { return world.matching(pattern) })
		for len(found) > 0 && err == nil {
			some := found[:min(len(found), chargersAtOnce)]
			found = found[len(some):]
			var rows []chargerStatus
			rows, err = ask(r.Context(), world, func() []chargerStatus { return world.describe(some) })
			all = append(all, rows...)
		}
		if err != nil {
			answer(w, nil, err)
			return
		}
	}
	slices.SortFunc(all, func(a, b chargerStatus) int { return strings.Compare(a.Identity, b.Identity) })
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	for i := range all {
		if out.Encode(&all[i]) != nil {
			return
		}
	}
}

// maxGlob is the longest pattern, in bytes.
const maxGlob = 512

// chargersAtOnce are described in one turn of a loop: what else it has to do
// does not wait for a long list.
const chargersAtOnce = 256

// matching are the connections whose identity matches. It runs on the loop.
func (w *world) matching(pattern string) (handles []uint64) {
	w.loop.All(func(c *conn.Conn) {
		if ok, _ := path.Match(pattern, c.Identity); ok || pattern == "*" {
			handles = append(handles, c.Handle())
		}
	})
	return handles
}

// describe runs on the loop.
func (w *world) describe(handles []uint64) (rows []chargerStatus) {
	for _, h := range handles {
		c := w.loop.Lookup(h)
		if c == nil {
			continue // gone meanwhile
		}
		charger, ok := c.User.(*relay.Charger)
		if !ok {
			continue
		}
		waits := w.relay.Waiting(charger)
		row := chargerStatus{
			Identity: c.Identity, Subprotocol: c.Subprotocol.String(), TLS: metrics.TLSOf(c), Remote: c.Remote.String(),
			Opened: time.UnixMilli(c.Opened).UTC(), Queue: waits.Messages, Paused: waits.Paused,
		}
		if owner := charger.Owner(); owner != nil {
			row.Processor = owner.Name()
		}
		rows = append(rows, row)
	}
	return rows
}
