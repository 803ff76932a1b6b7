package conn

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"strings"
)

// errTooLarge means that the head of a request has no end within the limit.
var errTooLarge = errors.New("head is too large")

// readHead reads the head of a request, up to and with the empty line that ends it,
// and not a byte more. Empty lines before the request line are skipped: RFC 9112
// section 2.2. limit is in bytes, and includes them.
func readHead(br *bufio.Reader, limit int) (head []byte, err error) {
	read, line := 0, 0 // line is where the last one begins in head
	for {
		b, err := br.ReadSlice('\n')
		head = append(head, b...)
		switch read += len(b); {
		case read > limit:
			return head, errTooLarge
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return head, err
		}
		switch empty := len(bytes.TrimRight(head[line:], "\r\n")) == 0; {
		case empty && line == 0:
			head = head[:0]
		case empty, line == 0 && !bytes.Contains(head, []byte(" HTTP/")): // whoever speaks another protocol is told at once
			return head, nil
		}
		line = len(head)
	}
}

// maxTarget is what of a path is kept for the log, in bytes.
const maxTarget = 300

// targetOf returns the path that the head of a request asks for, without what may be
// secret behind it, or before it: RFC 3986 section 3.2.1.
func targetOf(head []byte) string {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	words := strings.Fields(string(line[:min(len(line), maxTarget)]))
	if len(words) < 2 {
		return ""
	}
	path, _, _ := strings.Cut(words[1], "?")
	if _, rest, absolute := strings.Cut(path, "://"); absolute {
		_, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	return path
}

// parseHead parses the head of a request, and refuses what RFC 9112 and RFC 6455 say
// a server must, where net/http is more patient.
func parseHead(head []byte) (*http.Request, *Refusal) {
	line, fields, _ := bytes.Cut(head, []byte("\n"))
	if words := strings.Fields(string(line)); len(words) == 3 && strings.HasPrefix(words[2], "HTTP/") {
		// RFC 9110 section 15.6.6. HTTP/1.0 is refused later, by another reason.
		if major, _, ok := strings.Cut(words[2][len("HTTP/"):], "."); ok && major != "1" && isDigits(major) {
			return nil, refusalHTTPMajor.Refusal(words[2])
		}
	}
	hosts := 0
	for field := range bytes.Lines(fields) {
		name, _, found := bytes.Cut(field, []byte(":"))
		// RFC 9112 section 5.1: refused, because others would read another field.
		if found && len(bytes.TrimRight(name, " \t")) != len(name) {
			return nil, refusalNotHTTP.Refusal("white space before a colon in the header")
		}
		if bytes.EqualFold(name, []byte("Host")) {
			hosts++
		}
	}
	if hosts > 1 {
		return nil, refusalHost.Refusal("stands there twice")
	}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return nil, refusalNotHTTP.Refusal(err)
	}
	return req, nil
}

// checkHost is RFC 9112 section 3.2. net/http moves the field out of the header, so
// it is looked for in the head itself.
func checkHost(head []byte, req *http.Request) *Refusal {
	if !req.ProtoAtLeast(1, 1) {
		return nil
	}
	_, fields, _ := bytes.Cut(head, []byte("\n"))
	for field := range bytes.Lines(fields) {
		if name, value, _ := bytes.Cut(field, []byte(":")); bytes.EqualFold(name, []byte("Host")) {
			if !validHost(strings.TrimSpace(string(value))) {
				return refusalHost.Refusal("is no host name or address")
			}
			return nil
		}
	}
	return refusalHost.Refusal("is missing")
}

// validHost holds s against uri-host [":" port], RFC 3986 section 3.2.2. An empty one
// is valid, as that of a URL without a host.
func validHost(s string) bool {
	if rest, found := strings.CutPrefix(s, "["); found {
		address, port, closed := strings.Cut(rest, "]")
		return closed && only(address, "abcdefABCDEF0123456789:.") && (port == "" || port[0] == ':' && isDigits(port[1:]))
	}
	name, port, _ := strings.Cut(s, ":")
	return isDigits(port) && only(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;=")
}

func isDigits(s string) bool { return only(s, "0123456789") }

// only reports whether all bytes of s are among those of set.
func only(s, set string) bool { return strings.Trim(s, set) == "" }
