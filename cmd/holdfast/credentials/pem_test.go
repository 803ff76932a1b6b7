package credentials

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"holdfast/cmd/holdfast/config"
)

// An issued certificate with its key.
type issued struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func (c *issued) keyPEM(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// issue makes a certificate that ends in so many days; by nil makes a root. url is where
// its issuer's certificate may be had.
func issue(t testing.TB, name string, by *issued, authority bool, days int, url ...string) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(0, 0, days).Add(time.Hour),
		IsCA: authority, BasicConstraintsValid: true,
		IssuingCertificateURL: url,
	}
	c := &issued{key: key}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if c.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	c.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return c
}

func lines(s string) []string { return strings.SplitAfter(strings.TrimSuffix(s, "\n"), "\n") }

// Damage to one certificate of several. Each was seen on a disk, or is what an editor, a
// transfer or a careless cat makes.
var damages = []struct {
	name   string
	damage func(cert string) string
}{
	{"cut short", func(c string) string { return c[:len(c)/2] }},
	{"without its last line", func(c string) string { l := lines(c); return strings.Join(l[:len(l)-1], "") }},
	{"without its first line", func(c string) string { return strings.Join(lines(c)[1:], "") }},
	{"without its first and last line", func(c string) string { l := lines(c); return strings.Join(l[1:len(l)-1], "") }},
	{"a letter is another sign", func(c string) string { return c[:100] + "*" + c[101:] }},
	{"a bit has flipped to a letter", func(c string) string {
		return c[:40] + string("AB"[c[40]&1]) + string("AB"[c[41]&1]) + string("AB"[c[42]&1]) + c[43:]
	}},
	{"a line is missing", func(c string) string { l := lines(c); return strings.Join(append(l[:3:3], l[4:]...), "") }},
	{"indented", func(c string) string { return "  " + strings.Join(lines(c), "  ") }},
	{"indented inside", func(c string) string { l := lines(c); l[2] = "\t" + l[2]; return strings.Join(l, "") }},
	{"a byte-order mark", func(c string) string { return "\xef\xbb\xbf" + c }},
	{"its begin has four dashes", func(c string) string { return c[1:] }},
	{"its end has four dashes", func(c string) string { return c[:len(c)-2] + "\n" }},
	{"begin in small letters", func(c string) string { return strings.Replace(c, "BEGIN", "Begin", 1) }},
	{"it ends as something else", func(c string) string { return strings.Replace(c, "END CERTIFICATE", "END X509 CRL", 1) }},
	{"glued to the next", func(c string) string { return strings.TrimSuffix(c, "\n") }},
	{"CR alone", func(c string) string { return strings.ReplaceAll(c, "\n", "\r") }},
	{"OpenSSL's trusted kind", func(c string) string { return strings.ReplaceAll(c, "CERTIFICATE", "TRUSTED CERTIFICATE") }},
	{"NUL bytes", func(c string) string { return c[:200] + strings.Repeat("\x00", 50) + c[250:] }},
	{"headers", func(c string) string { return strings.Replace(c, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1) }},
	{"empty", func(c string) string { l := lines(c); return l[0] + l[len(l)-1] + "\n" }},
	{"more behind its DER", func(c string) string {
		b, _ := pem.Decode([]byte(c))
		b.Bytes = append(b.Bytes, 0)
		return string(pem.EncodeToMemory(b))
	}},
	{"twice its own text", func(c string) string { l := lines(c); return strings.Join(append(l[:len(l)-1:len(l)-1], l...), "") }},
}

// Of a damaged file nothing is used: neither a chain whose second certificate is damaged
// nor a bundle of authorities, whichever of them is.
func TestNoFileLoadsInPart(t *testing.T) {
	root := issue(t, "root", nil, true, 900)
	middle := issue(t, "middle", root, true, 900)
	leaf := issue(t, "gateway", middle, false, 900)
	second, third := issue(t, "second", nil, true, 900), issue(t, "third", nil, true, 900)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := write("key", leaf.keyPEM(t))
	load := func(chain, bundle string) error {
		c := &config.Config{ListenTLS: []config.Listener{{}}, TLSCerts: []string{chain}, TLSKeys: []string{key}, TLSClientCA: bundle}
		_, err := newCertificates(c)
		return err
	}
	chain, bundle := write("chain", leaf.pem+middle.pem+root.pem), write("bundle", root.pem+second.pem+third.pem)
	if err := load(chain, bundle); err != nil {
		t.Fatal(err)
	}
	if err := load(write("crlf", strings.ReplaceAll("# our chain\n\n"+leaf.pem+"Bag Attributes\n    localKeyID: 01\n"+middle.pem, "\n", "\r\n")), bundle); err != nil {
		t.Errorf("text between blocks and CR LF: %v", err)
	}
	heading := "##\n## Bundle of CA Root Certificates\n##\n\n"
	for _, c := range []*issued{root, second, third} {
		name := "A Root with a Name Long Enough to be Underlined, Begun in 1999"
		heading += name + "\n" + strings.Repeat("=", len(name)) + "\n" + c.pem + "# --- Bundle of friends ---\n# --- the end ---\n-- End of " + name + "\n"
	}
	if err := load(chain, write("public", heading)); err != nil {
		t.Errorf("the headings of a public bundle: %v", err)
	}
	if err := load(write("both", leaf.keyPEM(t)+leaf.pem), bundle); err != nil {
		t.Errorf("key and certificate in one file: %v", err)
	}
	for _, tt := range damages {
		for n, of := range [][]string{{leaf.pem, middle.pem, root.pem}, {root.pem, second.pem, third.pem}} {
			for at := range of {
				parts := append([]string(nil), of...)
				parts[at] = tt.damage(parts[at])
				path := write("damaged", strings.Join(parts, ""))
				var err error
				if n == 0 {
					err = load(path, bundle)
				} else {
					err = load(chain, path)
				}
				if at == 2 && tt.name == "glued to the next" {
					continue // there is no next
				}
				if err == nil {
					t.Errorf("%s, certificate %d of file %d: loaded", tt.name, at+1, n)
				} else if !strings.Contains(err.Error(), path+":") {
					t.Errorf("%s: the fault names no line: %v", tt.name, err)
				}
			}
		}
	}
	wide := utf16.Encode([]rune(root.pem))
	var utf16le bytes.Buffer
	utf16le.WriteString("\xff\xfe")
	for _, u := range wide {
		utf16le.Write([]byte{byte(u), byte(u >> 8)})
	}
	for name, text := range map[string]string{
		"nothing": "", "line feeds": "\n\n", "garbage": "garbage\n", "DER": string(root.cert.Raw), "UTF-16": utf16le.String(),
		"a key": leaf.keyPEM(t), "a key beside": root.pem + leaf.keyPEM(t), "a CRL": root.pem + "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
	} {
		if err := load(chain, write("file", text)); err == nil {
			t.Errorf("%s loaded as authorities", name)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "a certificate": leaf.pem, "two keys": leaf.keyPEM(t) + leaf.keyPEM(t), "another's": middle.keyPEM(t), "cut": leaf.keyPEM(t)[:60],
		"a password": strings.ReplaceAll(leaf.keyPEM(t), "PRIVATE", "ENCRYPTED PRIVATE"),
	} {
		write("key", text)
		if err := load(chain, bundle); err == nil {
			t.Errorf("%s loaded as a key", name)
		}
	}
}

// check says what a charger would stumble over, and what will end.
func TestCertificateWarnings(t *testing.T) {
	root := issue(t, "root", nil, true, 900)
	middle, soon, over := issue(t, "middle", root, true, 900), issue(t, "soon", root, true, 20), issue(t, "over", root, true, -3)
	leaf, ofSoon, ofOver := issue(t, "leaf", middle, false, 90), issue(t, "leaf", soon, false, 90), issue(t, "leaf", over, false, 90)
	other, pointing := issue(t, "other", nil, true, 900), issue(t, "leaf", middle, false, 90, "http://ca.example/middle.der")
	dir := t.TempDir()
	for _, tt := range []struct {
		name         string
		leaf         *issued
		chain        []*issued
		bundle       []*issued
		fault, warns string // "": none
	}{
		{"right", leaf, []*issued{leaf, middle, root}, []*issued{root}, "", ""},
		{"without the root", leaf, []*issued{leaf, middle}, []*issued{root, other}, "", ""},
		{"wrong order", leaf, []*issued{leaf, root, middle}, []*issued{root}, "", "wrong order"},
		{"gap", leaf, []*issued{leaf, root}, []*issued{root}, "", "there is a gap"},
		{"of another chain", leaf, []*issued{leaf, middle, other}, []*issued{root}, "", "belongs to another chain"},
		{"an intermediate ends", ofSoon, []*issued{ofSoon, soon}, []*issued{root}, "", "ends in 20 days"},
		{"an intermediate has ended", ofOver, []*issued{ofOver, over}, []*issued{root}, "", "has expired"},
		{"an authority ends", leaf, []*issued{leaf, middle}, []*issued{root, soon}, "", "ends in 20 days"},
		{"an authority has ended", leaf, []*issued{leaf, middle}, []*issued{over, root}, "", "has expired"},
		{"alone", leaf, []*issued{leaf}, []*issued{root}, "", ""},
		{"alone, and tells where its issuer is", pointing, []*issued{pointing}, []*issued{root}, "", "is not in the file, and is no root of this system"},
		{"no authority", leaf, []*issued{leaf, middle}, []*issued{root, leaf}, "", "no certificate authority"},
		{"the leaf has ended", issue(t, "late", middle, false, -1), nil, []*issued{root}, "has expired", ""},
	} {
		if tt.chain == nil {
			tt.chain = []*issued{tt.leaf, middle}
		}
		join := func(name string, all []*issued) string {
			var b strings.Builder
			for _, c := range all {
				b.WriteString(c.pem)
			}
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		key := filepath.Join(dir, "key")
		if err := os.WriteFile(key, []byte(tt.leaf.keyPEM(t)), 0o600); err != nil {
			t.Fatal(err)
		}
		faults, warnings := Check(&config.Config{
			ListenTLS: []config.Listener{{}}, TLSCerts: []string{join("chain", tt.chain)}, TLSKeys: []string{key}, TLSClientCA: join("bundle", tt.bundle),
		})
		for _, got := range []struct {
			what string
			errs []error
			want string
		}{{"faults", faults, tt.fault}, {"warnings", warnings, tt.warns}} {
			if (len(got.errs) > 0) != (got.want != "") || got.want != "" && !strings.Contains(errors.Join(got.errs...).Error(), got.want) {
				t.Errorf("%s: %s %v, want %q", tt.name, got.what, got.errs, got.want)
			}
		}
	}
}

// What parses has every BEGIN of its text as a block, so nothing was skipped.
func FuzzParsePEM(f *testing.F) {
	cert := issue(f, "seed", nil, true, 900).pem
	f.Add([]byte(cert + cert))
	for _, d := range damages {
		f.Add([]byte(cert + d.damage(cert)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		blocks, _, err := parsePEM(b)
		if err != nil {
			return
		}
		if n := bytes.Count(b, []byte("-----BEGIN ")); n != len(blocks) {
			t.Errorf("%d blocks of %d", len(blocks), n)
		}
		if n := bytes.Count(b, []byte("-----END ")); n != len(blocks) {
			t.Errorf("%d blocks of %d ends", len(blocks), n)
		}
	})
}
