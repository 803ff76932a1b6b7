package main

import (
	"encoding/json"
	"log/slog"
	"sync"
	"time"
)

// maxSubprotocols bounds what is remembered of chargers: one that moved to
// another processor leaves without a word. Those that talk stay; a charger that
// is forgotten while it is still ours is served by the shape of its messages.
const maxSubprotocols = 1 << 16

// central is the central system. Its methods are safe for concurrent use.
type central struct {
	transactions *transactions
	interval     time.Duration // between heartbeats
	off          map[string]bool
	now          func() time.Time
	log          *slog.Logger

	mu           sync.Mutex
	subprotocols *recent[string, version] // by identity, from OPENED to CLOSED
}

func newCentral(ids *transactions, interval time.Duration, off []string, log *slog.Logger) *central {
	c := &central{
		transactions: ids,
		interval:     interval,
		off:          map[string]bool{},
		now:          time.Now,
		log:          log,
		subprotocols: newRecent[string, version](maxSubprotocols),
	}
	for _, action := range off {
		c.off[action] = true
	}
	return c
}

func (c *central) opened(identity, subprotocol string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subprotocols.put(identity, versions[subprotocol])
}

func (c *central) closed(identity string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subprotocols.remove(identity)
}

func (c *central) version(identity string) version {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, _ := c.subprotocols.get(identity)
	return v
}

// delivery is a message of a charger, as the gateway handed it over.
type delivery struct {
	identity string
	payload  []byte
	binary   bool
}

// request is a CALL whose required fields have been checked.
type request struct {
	delivery
	version version
	fields  json.RawMessage // its payload
}

// action is how a CALL is answered.
type action struct {
	needs  []field
	answer func(*central, request) (object, error)
}

// serve returns the answer to a message, nil if none is due. An error says that
// it cannot be answered now, and should be delivered again.
func (c *central) serve(d delivery) ([]byte, error) {
	v := c.version(d.identity)
	m, bad := parse(d.payload)
	if d.binary {
		m, bad = message{}, &fault{notRPC, "OCPP-J messages are text, this one is binary"}
	}
	switch m.kind {
	case typeCall:
		if bad == nil {
			return c.call(d, v, m)
		}
	case typeCallResult, typeCallError:
		// The answer to a CALL that nobody waits for any more. It has no answer
		// itself, whatever is wrong with it.
		c.log.Debug("late answer", "charger", d.identity, "message", string(m.id))
		return nil, nil
	case typeCallResultError, typeSend:
		if v == v21 || v == unknownVersion {
			c.log.Debug("message without an answer", "charger", d.identity, "type", m.kind, "action", m.action)
			return nil, nil
		}
		bad = &fault{unknownType, "this message type came with OCPP 2.1"}
	default:
		if bad == nil {
			bad = &fault{unknownType, "unknown message type"}
		}
	}
	return c.refuse(d, v, m, bad), nil
}

// call answers a CALL.
func (c *central) call(d delivery, v version, m message) ([]byte, error) {
	a, v, bad := c.find(v, m)
	if bad != nil {
		return c.refuse(d, v, m, bad), nil
	}
	answer, err := a.answer(c, request{delivery: d, version: v, fields: m.payload})
	if err != nil {
		return nil, err
	}
	return result(m.id, answer), nil
}

// find returns how to answer a CALL. Of a charger whose version is unknown, the
// first version that the CALL fits tells; if it fits none, the first that has
// its action tells what is wrong with it.
func (c *central) find(v version, m message) (action, version, *fault) {
	switch {
	case !known(m.action):
		return action{}, v, &fault{unknownAction, "unknown action"}
	case c.off[m.action]:
		return action{}, v, &fault{unsupported, "this action is turned off"}
	}
	candidates := []version{v}
	if v == unknownVersion {
		candidates = []version{v16, v201, v21}
	}
	var first *fault
	for _, candidate := range candidates {
		a, ok := actions[candidate][m.action]
		if !ok {
			continue
		}
		bad := check(a.needs, m.payload)
		if bad == nil {
			return a, candidate, nil
		}
		if first == nil {
			v, first = candidate, bad
		}
	}
	if first == nil {
		first = &fault{unsupported, "not an action for a central system in this OCPP version"}
	}
	return action{}, v, first
}

// refuse logs a fault and returns its CALLERROR, nil where none is due.
func (c *central) refuse(d delivery, v version, m message, bad *fault) []byte {
	c.log.Info("message refused", "charger", d.identity, "action", m.action,
		"message", string(m.id), "code", bad.code.in(v), "why", bad.why)
	return bad.reply(v, m.id)
}
