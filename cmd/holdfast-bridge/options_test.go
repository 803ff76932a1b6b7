package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const aRoute = "* ws://127.0.0.1:9000/{identity}"

func TestFaultyOptions(t *testing.T) {
	for args, why := range map[string]string{
		"":                                                                   "no route",
		"-route|X":                                                           "must be GLOB",
		"-route|" + aRoute + "|x":                                            `unexpected argument "x"`,
		"-route|" + aRoute + "|-rout|x":                                      "not defined",
		"-route|" + aRoute + "|-auth|maybe":                                  "must be none or processor",
		"-route|" + aRoute + "|-linger|-1s":                                  "cannot be negative",
		"-route|" + aRoute + "|-dial-rate|0":                                 "more than 0",
		"-route|" + aRoute + "|-attempts|0":                                  "1 or more",
		"-route|" + aRoute + "|-header|X":                                    "must be Name: value",
		"-route|" + aRoute + "|-header|Host: x":                              "the bridge's own",
		"-route|" + aRoute + "|-offline-reply|Authorize":                     "these can: Heartbeat",
		"-route|" + aRoute + "|-boot-on-redial|always":                       "none, replay or trigger",
		"-route|" + aRoute + "|-upstream-cert|x":                             "belong together",
		"-route|" + aRoute + "|-auth|processor|-upstream-auth|f":             "bring their own",
		"-route|" + aRoute + "|-route|* ws://b/{identity}|-config|/no/where": "no such file",
	} {
		var list []string
		if args != "" {
			list = strings.Split(args, "|")
		}
		if _, err := parse(list); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", args, err, why)
		}
	}
}

// A file says what the command line does not; and where it is wrong.
func TestConfigFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bridge.conf")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# comment\n\nlinger = 5s\nname\tof the file\nroute " + aRoute + "\nroute * ws://second/{identity}\nheader X: 1\nheader X: 2\n")
	if _, err := parse([]string{"-config", path}); err == nil || !strings.Contains(err.Error(), "comes behind one that takes every charger") {
		t.Error(err)
	}
	write("# comment\r\n\r\nlinger = 5s\r\nname\tof the file\r\nroute A" + aRoute + "\r\nheader X: 1\nheader X: 2\n")
	o, err := parse([]string{"-config", path, "-name", "mine", "-route", "B" + aRoute})
	if err != nil || o.linger != 5*time.Second || o.name != "mine" || len(o.routes.Routes) != 2 || o.routes.Routes[0].Glob != "B*" || len(o.header["X"]) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	for text, why := range map[string]string{
		"lingr 5s":                 `:1: unknown option "lingr"`,
		"\nlinger soon":            `:2: linger: parse error`,
		"linger 5s\nlinger 6s":     ":2: linger stands on line 1 already",
		"config x":                 ":1: config is for the command line",
		"route":                    ":1: route: \"\": must be GLOB",
		"auth-":                    ":1: unknown option",
		"upstream-auth\nauth none": "",
	} {
		write(text + "\nroute " + aRoute + "\n")
		if _, err := parse([]string{"-config", path}); why != "" && (err == nil || !strings.Contains(err.Error(), path+why)) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
}

func TestPasswordFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	for text, why := range map[string]string{
		"CP1 a b\n\"CP 2\" c\n# x\n": "",
		"CP1":                        ":1: want an identity",
		"CP1 a\nCP1 b":               ":2: CP1 stands there twice",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := readPasswords(path)
		if why == "" && (err != nil || p["CP1"] != "a b" || p["CP 2"] != "c") || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
			t.Errorf("%q: %v, %v, want %q", text, p, err, why)
		}
	}
}
