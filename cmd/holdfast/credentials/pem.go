package credentials

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

// encoding/pem skips what it does not understand, up to the next block that it does.
// Of a bundle with a damaged certificate it returns the others, so the chargers of one
// authority would be refused by a file that "is valid". Here every block parses, or the
// file is refused with the block and the line.

// A block is one PEM block of a file (RFC 7468).
type block struct {
	number int // from 1
	line   int // of its BEGIN, from 1
	kind   string
	bytes  []byte // DER
}

// at says where the block is.
func (b *block) at(path string) string {
	return fmt.Sprintf("%s:%d: block %d (%s)", path, b.line, b.number, b.kind)
}

// maxFile is the largest file that is read, in bytes.
const maxFile = 64 << 20

// readFile reads a file whole.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s: it is longer than %d MiB", path, maxFile>>20)
	}
	return b, err
}

// readPEM reads every block of a file; there is at least one.
func readPEM(path string) ([]block, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	blocks, line, err := parsePEM(b)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", path, line, err)
	}
	return blocks, nil
}

const (
	dashes   = "-----"
	beginTag = dashes + "BEGIN "
	endTag   = dashes + "END "
)

// parsePEM returns every block of b, or an error and the line that it is about. Text
// between blocks is allowed, unless it may be the rest of one.
func parsePEM(b []byte) (all []block, line int, err error) {
	if err := checkText(b); err != nil {
		return nil, 1, err
	}
	var open *block
	var body strings.Builder
	for text := range strings.Lines(string(b)) {
		line++
		text = strings.TrimRight(text, " \t\r\n")
		switch {
		case open == nil && strings.HasPrefix(text, beginTag) && strings.Count(text, dashes) == 2 && strings.HasSuffix(text, dashes):
			open = &block{number: len(all) + 1, line: line, kind: text[len(beginTag) : len(text)-len(dashes)]}
			body.Reset()
		case open == nil:
			if err := checkOutside(text); err != nil {
				return nil, line, fmt.Errorf("behind block %d: %w", len(all), err)
			}
		case text == endTag+open.kind+dashes:
			if open.bytes, err = base64.StdEncoding.DecodeString(body.String()); err != nil || len(open.bytes) == 0 {
				return nil, open.line, fmt.Errorf("block %d (%s): what is in it is not base64, or was cut", open.number, open.kind)
			}
			all = append(all, *open)
			open = nil
		default:
			if err := checkInside(text); err != nil {
				return nil, line, fmt.Errorf("block %d (%s), which begins in line %d: %w", open.number, open.kind, open.line, err)
			}
			body.WriteString(text)
		}
	}
	switch {
	case open != nil:
		return nil, open.line, fmt.Errorf("block %d (%s) has no end: the file was cut short", open.number, open.kind)
	case len(all) == 0:
		return nil, 1, errors.New("there is no PEM block in it (-----BEGIN …)")
	}
	return all, line, nil
}

// checkText refuses what is no text of ASCII lines as a whole.
func checkText(b []byte) error {
	switch {
	case len(b) == 0:
		return errors.New("the file is empty")
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return errors.New("it begins with a byte-order mark: save it without one")
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		return errors.New("it is UTF-16: save it as ASCII")
	case b[0] == 0x30 && !utf8.Valid(b):
		return errors.New("it is DER, not PEM: convert it with openssl x509 -inform der, or openssl pkey -inform der")
	case bytes.IndexByte(b, 0) >= 0:
		return errors.New("it has NUL bytes: it is no text, or a disk has lost a part of it")
	case bytes.IndexByte(b, '\r') >= 0 && bytes.IndexByte(b, '\n') < 0:
		return errors.New("its lines end with CR alone: convert them to LF")
	}
	return nil
}

// boundary is what is left of a line that begins or ends a block after it was damaged. A
// comment like "--- End of bundle ---" is none.
var boundary = regexp.MustCompile(`(?i)-(begin|end)\b|\b(begin|end) [a-z0-9 ]*(certificate|key|crl|request|parameters)-`)

// checkOutside refuses a line between blocks that may be a part of one. The headings of
// public bundles, underlined with "=", are none.
func checkOutside(text string) error {
	switch {
	case boundary.MatchString(text):
		return fmt.Errorf("%.80q is no line that begins or ends a block: it is indented, glued to another, or damaged", text)
	case len(text) >= 40 && isBase64(text) && len(text)-len(strings.TrimRight(text, "=")) <= 2:
		return errors.New("base64 outside of a block: its first line is missing")
	}
	return nil
}

// checkInside refuses a line inside a block that is not base64.
func checkInside(text string) error {
	switch {
	case text == "" || isBase64(text):
		return nil
	case strings.Contains(text, "--"):
		return fmt.Errorf("%.80q instead of its last line", text)
	case strings.Contains(text, ":"):
		return errors.New("it is encrypted, or has headers: store it without (openssl pkey)")
	case strings.TrimLeft(text, " \t") != text:
		return errors.New("its lines are indented")
	}
	return errors.New("this line is not base64")
}

func isBase64(s string) bool {
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == ""
}
