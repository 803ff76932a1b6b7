package route

import "fmt"

// A Set is all routes and mirrors. It is not changed once it is in use.
type Set struct {
	Routes  []Route // the first that matches is the charger's
	Mirrors []Mirror
}

// Find returns the route of a charger.
func (s *Set) Find(identity, subprotocol string) (r Route, found bool) {
	for _, r := range s.Routes {
		if r.Matches(identity, subprotocol) {
			return r, true
		}
	}
	return Route{}, false
}

// Mirrored returns the mirrors of a charger.
func (s *Set) Mirrored(identity, subprotocol string) (of []Mirror) {
	for _, m := range s.Mirrors {
		if m.Matches(identity, subprotocol) {
			of = append(of, m)
		}
	}
	return of
}

// Check returns what is wrong with the whole: routes that no charger can reach.
func (s *Set) Check() error {
	for i, r := range s.Routes {
		if r.Glob == "*" && len(r.Subprotocols) == 0 && i < len(s.Routes)-1 {
			return fmt.Errorf("route %q comes behind one that takes every charger: the first that matches wins", s.Routes[i+1].URL)
		}
	}
	return nil
}
