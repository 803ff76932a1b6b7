package conn

import "slices"

// Tolerances is a set of what chargers do wrong and are forgiven.
type Tolerances uint8

// What chargers may be forgiven. Each is in ToleranceTable.
const (
	TolerateConnection Tolerances = 1 << iota
	TolerateSlashes
	TolerateIdentityTwice
	TolerateSubprotocol
	TolerateKey
	TolerateText
)

// Has reports whether all of t are in the set.
func (s Tolerances) Has(t Tolerances) bool { return s&t == t }

// Tolerance describes one member of the set.
type Tolerance struct {
	Bit    Tolerances
	Name   string // as operators set it
	What   string // is forgiven, one line
	Source string // who met such a charger
}

// ToleranceTable lists every tolerance, in the order of docs/configuration.md.
var ToleranceTable = []Tolerance{
	{
		TolerateConnection, "connection",
		"`Connection: Upgrade` is missing from the handshake",
		"lbbrhzn/ocpp#1933: Autel MaxiCharger, firmware 1.38",
	},
	{
		TolerateSlashes, "slashes",
		"several slashes where one belongs, as when a charger joins `ws://gateway/ocpp/` and `/CP1`",
		"evcc-io/evcc#10195: a wallbox and a simulator",
	},
	{
		TolerateIdentityTwice, "identity-twice",
		"the identity stands in the path twice, `/ocpp/CP1/CP1`: the charger appended it to a URL that has it already",
		"evcc-io/docs#357: some wallboxes append it, others do not say that they do",
	},
	{
		TolerateSubprotocol, "subprotocol",
		"a subprotocol in capitals or quotes, `OCPP1.6` or `\"ocpp1.6\"`; the answer has the charger's spelling",
		"TooTallNate/Java-WebSocket#427: servers compare without regard to case, so chargers got away with it",
	},
	{
		TolerateKey, "key",
		"a Sec-WebSocket-Key of another length than 16 bytes",
		"websockets/ws#1571: a charger that sends 32 bytes",
	},
	{
		TolerateText, "text",
		"a text message that is not UTF-8: it is delivered unchanged, as binary and marked as malformed text",
		"firstof9/openevse#183: a serial number with bytes of 0xff",
	},
}

// ToleranceNames returns the names of all tolerances, in their order.
func ToleranceNames() (names []string) {
	for _, t := range ToleranceTable {
		names = append(names, t.Name)
	}
	return names
}

// ToleranceOf returns the tolerance of a name; ok is false if there is none.
func ToleranceOf(name string) (bit Tolerances, ok bool) {
	i := slices.IndexFunc(ToleranceTable, func(t Tolerance) bool { return t.Name == name })
	if i < 0 {
		return 0, false
	}
	return ToleranceTable[i].Bit, true
}
