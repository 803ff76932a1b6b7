package relay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path"

	"holdfast/unixipc"
	"holdfast/unixipc/tlv"
)

// The fields of a link's state; see codec.go for the rules.
const (
	linkID          = 1
	linkName        = 2
	linkHash        = 3
	linkSubprotocol = 4 // list
	linkWindow      = 5
	linkIn          = 6
	linkOut         = 7
	linkDraining    = 8
	linkDrained     = 9
	linkOperator    = 10
	linkAskOnly     = 11 // such a link is draining and drained, for older readers
	linkAuthorizes  = 12
	linkTap         = 13 // list
	linkWatch       = 14 // list
	linkTokens      = 15

	linkChargerWindow = 16 // required: order may depend on it
	linkWritten       = 17 // of linkOut's first frame, so much came before and is written
	linkWhole         = 18 // linkWritten and linkOut are whole frames; a release before it cut them anywhere
	linkRetired       = 19 // an older reader cannot take the draining back
)

var linkMagic = [2]byte{'H', 'l'}

// AppendLink appends the encoded state of l to dst.
func (r *Relay) AppendLink(dst []byte, l *Link) []byte {
	dst = tlv.AppendHeader(dst, linkMagic, StateVersion)
	dst = tlv.AppendUint(dst, linkID, uint64(l.id))
	dst = tlv.AppendBytes(dst, linkName, l.name)
	dst = tlv.AppendUint(dst, linkHash, l.hash)
	for _, s := range l.subprotocols {
		dst = tlv.AppendItem(dst, linkSubprotocol, []byte(s))
	}
	dst = tlv.AppendUint(dst, linkWindow, uint64(l.window))
	dst = tlv.AppendBytes(dst, linkIn, l.in)
	dst = tlv.AppendBytes(dst, linkOut, l.Unwritten())
	dst = tlv.AppendBool(dst, linkDraining, l.draining)
	dst = tlv.AppendBool(dst, linkDrained, l.drained)
	dst = tlv.AppendBool(dst, linkOperator, l.operator)
	dst = tlv.AppendBool(dst, linkAskOnly, l.askOnly)
	dst = tlv.AppendBool(dst, linkAuthorizes, l.authorizes)
	for _, t := range l.taps {
		dst = tlv.AppendItem(dst, linkTap, subscription{t.token, t.glob, t.missed}.append(nil))
	}
	for _, w := range l.watches {
		again := uint64(0)
		if w.unlisted || w.listing {
			again = 1
		}
		dst = tlv.AppendItem(dst, linkWatch, subscription{w.token, w.glob, again}.append(nil))
	}
	dst = tlv.AppendUint(dst, linkTokens, l.tokens)
	if l.chargerWindow > 0 {
		dst = tlv.AppendRequired(dst, linkChargerWindow, binary.AppendUvarint(nil, uint64(l.chargerWindow)))
	}
	if len(l.out) > 0 && !l.cut {
		dst = tlv.AppendBytes(dst, linkWritten, l.out[l.boundary():l.off])
		dst = tlv.AppendBool(dst, linkWhole, true)
	}
	dst = tlv.AppendUint(dst, linkRetired, uint64(l.retired))
	return tlv.AppendEnd(dst)
}

func parseLink(b []byte) (*Link, error) {
	f := tlv.NewReader("link state", b, linkMagic, StateVersions...)
	l := new(Link)
	whole := false
	var written []byte
	for {
		id, ok := f.Next(linkSubprotocol, linkTap, linkWatch)
		if !ok {
			break
		}
		switch id {
		case linkID:
			l.id = uint32(f.Uint(math.MaxUint32))
		case linkName:
			l.name = f.String(64)
		case linkHash:
			l.hash = f.Uint(math.MaxUint64)
		case linkSubprotocol:
			l.subprotocols = append(l.subprotocols, string(f.Item(maxSubprotocol)))
		case linkWindow:
			l.window = int(f.Uint(math.MaxInt32))
		case linkIn:
			l.in = append(l.in, f.Bytes(maxData)...)
		case linkOut:
			l.out = append(l.out, f.Bytes(maxData)...)
		case linkWhole:
			whole = f.Bool()
		case linkWritten:
			written = f.Bytes(maxData)
		case linkDraining:
			l.draining = f.Bool()
		case linkDrained:
			l.drained = f.Bool()
		case linkRetired:
			l.retired = retired(f.Uint(uint64(retiredAuthorizer)))
		case linkOperator:
			l.operator = f.Bool()
		case linkAskOnly:
			l.askOnly = f.Bool()
		case linkAuthorizes:
			l.authorizes = f.Bool()
		case linkTokens:
			l.tokens = f.Uint(math.MaxUint64)
		case linkChargerWindow:
			f.Required()
			l.chargerWindow = int(f.Uint(math.MaxInt32))
		case linkTap:
			s, err := parseSubscription(f.Item(maxData), math.MaxUint64)
			f.Fail(err)
			l.taps = append(l.taps, tap{token: s.token, glob: s.glob, missed: s.count})
		case linkWatch:
			s, err := parseSubscription(f.Item(maxData), 1)
			f.Fail(err)
			l.watches = append(l.watches, watch{token: s.token, glob: s.glob, unlisted: s.count == 1})
		default:
			f.Unknown()
		}
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	if l.cut = !whole && len(l.out) > 0; !l.cut {
		l.out, l.off = append(bytes.Clone(written), l.out...), len(written)
	}
	switch {
	case l.id == 0 || l.name == "" || l.window == 0:
		return nil, errors.New("link state: without an id, a name or a window")
	case l.drained && !l.draining:
		return nil, errors.New("link state: drained, but not draining")
	case l.retired != notRetired && (!l.draining || l.askOnly || l.authorizes):
		return nil, errors.New("link state: drained by an operator, and has what that takes")
	case l.askOnly && !l.draining:
		return nil, errors.New("link state: takes no deliveries, but is not draining")
	case len(l.taps) > 0 && !l.operator:
		return nil, errors.New("link state: taps of somebody who is no operator")
	case len(l.taps) > maxSubscriptions || len(l.watches) > maxSubscriptions:
		return nil, errors.New("link state: too many taps or watches")
	}
	seen := map[uint64]bool{}
	for _, t := range l.taps {
		seen[t.token] = true
	}
	for _, w := range l.watches {
		seen[w.token] = true
	}
	if len(seen) != len(l.taps)+len(l.watches) {
		return nil, errors.New("link state: two taps or watches of one token")
	}
	return l, nil
}

// subscription is the encoded state of a tap or a watch.
type subscription struct {
	token uint64
	glob  string
	count uint64 // of a tap: missed; of a watch: 1 if the list starts again
}

const (
	subscriptionToken = 1
	subscriptionGlob  = 2
	subscriptionCount = 3
)

func (s subscription) append(dst []byte) []byte {
	dst = tlv.AppendUint(dst, subscriptionToken, s.token)
	dst = tlv.AppendBytes(dst, subscriptionGlob, s.glob)
	return tlv.AppendUint(dst, subscriptionCount, s.count)
}

func parseSubscription(b []byte, most uint64) (s subscription, err error) {
	f := tlv.NewFields("tap or watch", b)
	for {
		id, ok := f.Next()
		if !ok {
			break
		}
		switch id {
		case subscriptionToken:
			s.token = f.Uint(math.MaxUint64)
		case subscriptionGlob:
			s.glob = f.String(unixipc.MaxGlob)
		case subscriptionCount:
			s.count = f.Uint(most)
		default:
			f.Unknown()
		}
	}
	if err := f.Err(); err != nil {
		return s, err
	}
	if _, err := path.Match(s.glob, ""); err != nil || s.glob == "" {
		return s, fmt.Errorf("tap or watch: %q is no glob", s.glob)
	}
	return s, nil
}
