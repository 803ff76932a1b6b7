package conn

// Kind is what a message of a charger came as.
type Kind uint8

const (
	// Text is UTF-8.
	Text Kind = iota
	// Binary is any bytes.
	Binary
	// MalformedText came as text and is not UTF-8: TolerateText.
	MalformedText
)

func (e event) kind() Kind {
	switch {
	case e.malformed:
		return MalformedText
	case e.op == opBinary:
		return Binary
	}
	return Text
}
