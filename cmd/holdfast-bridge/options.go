package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"holdfast/cmd/holdfast-bridge/bridge"
	"holdfast/cmd/holdfast-bridge/route"
	"holdfast/cmd/holdfast/logging"
)

// options are the command line and the configuration file.
type options struct {
	config string
	dryRun bool
	reload bool

	socket, name, admin, metrics string
	routes                       route.Set
	auth, upstreamAuth           string

	ca, certificate, key, serverName string
	header                           http.Header

	dialRate                                                     float64
	dialTimeout, ping, answerTimeout, callTimeout, linger, drain time.Duration
	attempts, maxMessage                                         int
	bootOnRedial                                                 string
	offlineReply                                                 map[string]bool

	logFormat string
	logLevel  slog.Level
	logBurst  int
}

// only are the options that stand on the command line alone.
var only = []string{"config", "dry-run", "reload"}

// flags returns the options, which set o.
func (o *options) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("holdfast-bridge", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // faults are returned; flag would print them as well
	fs.StringVar(&o.config, "config", "", "`file` with options: a name and its value on each line")
	fs.BoolVar(&o.dryRun, "dry-run", false, "check the options, and print which chargers of the bridge that runs (-admin) SIGHUP would move")
	fs.BoolVar(&o.reload, "reload", false, "have the bridge that runs (-admin) read its routes again, and wait until it has; fails, with the reason, if they are at fault")
	fs.StringVar(&o.socket, "socket", "/run/holdfast/processors.sock", "the gateway's processor socket, a `path`")
	fs.StringVar(&o.name, "name", "bridge", "the `name` to join the gateway under; whoever comes back under it gets its chargers back")
	fs.Func("route", "chargers and their central system, `GLOB[,subprotocol=NAME] URL`; {identity} in the URL is the charger's.\nMay be given more than once: the first that matches a charger is its route", func(v string) error {
		r, err := route.Parse(v)
		o.routes.Routes = append(o.routes.Routes, r)
		return err
	})
	fs.Func("mirror", "a second central system, which gets copies, `GLOB[,subprotocol=NAME] URL[,calls=ACTION|…][,answers=ACTION|…][,main]`", func(v string) error {
		m, err := route.ParseMirror(v)
		o.routes.Mirrors = append(o.routes.Mirrors, m)
		return err
	})
	fs.StringVar(&o.auth, "auth", "none", "`who` decides whether a charger may connect, on a listener of the gateway with auth=processor:\nprocessor: the central system, by the charger's own credentials. none: the bridge is not asked")
	fs.StringVar(&o.upstreamAuth, "upstream-auth", "none", "with auth none, `file` of the credentials for central systems: lines of an identity, in quotes if it has a space, a space and its password")
	fs.StringVar(&o.ca, "upstream-ca", "", "`file` of the certificate authorities of central systems (default: the system's)")
	fs.StringVar(&o.certificate, "upstream-cert", "", "`file` of the certificate that central systems are shown, with its chain")
	fs.StringVar(&o.key, "upstream-key", "", "`file` of its key")
	fs.StringVar(&o.serverName, "upstream-server-name", "", "`name` that the certificates of central systems must have (default: the host of the URL)")
	fs.Func("header", "`Name: value` to be sent with each connection to a central system; may be given more than once", o.addHeader)
	fs.Float64Var(&o.dialRate, "dial-rate", 100, "connections to central systems that are made in a second, at most")
	fs.DurationVar(&o.dialTimeout, "dial-timeout", 10*time.Second, "how long a central system may take to accept one")
	fs.DurationVar(&o.ping, "ping", 50*time.Second, "interval of WebSocket pings to central systems; 0: none")
	fs.DurationVar(&o.answerTimeout, "answer-timeout", 30*time.Second, "how long a central system may take to answer a charger's CALL; must be shorter than the gateway's ack-timeout")
	fs.DurationVar(&o.callTimeout, "call-timeout", 0, "how long a charger may take to answer a central system's CALL (default the gateway's)")
	fs.IntVar(&o.attempts, "attempts", 3, "how often a central system may leave a CALL unanswered before the charger gets an error")
	fs.DurationVar(&o.linger, "linger", 0, "how long the connection to the central system stays when the charger has gone, in case that it comes back")
	fs.StringVar(&o.bootOnRedial, "boot-on-redial", "none", "what a central system gets on a new connection of a charger that has not started: none, replay (its last BootNotification) or trigger (TriggerMessage asks the charger)")
	fs.Func("offline-reply", "`actions` that are answered while the central system is away, with commas between them: "+strings.Join(bridge.Harmless, ", "), o.setOfflineReply)
	fs.IntVar(&o.maxMessage, "max-message", 1<<20, "longest message of a central system, `bytes`")
	fs.DurationVar(&o.drain, "drain-timeout", 30*time.Second, "how long what is under way may take after SIGTERM")
	fs.StringVar(&o.admin, "admin", "", "Unix socket for status and dry-run, a `path`")
	fs.StringVar(&o.metrics, "metrics", "", "`address` of /metrics, such as 127.0.0.1:9810; empty: none")
	fs.IntVar(&o.logBurst, "log-burst", 2000, "lines of the log of one kind, about chargers, that are written in 30 seconds; those beyond are counted; 0: all are written")
	fs.StringVar(&o.logFormat, "log-format", "text", "`format` of the log: text or json")
	fs.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "lowest `level` that is logged: debug, info, warn or error")
	return fs
}

func (o *options) addHeader(v string) error {
	name, value, ok := strings.Cut(v, ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch key := http.CanonicalHeaderKey(name); {
	case !ok || name == "" || strings.ContainsAny(name, " \t") || strings.ContainsAny(value, "\r\n"):
		return fmt.Errorf("must be Name: value")
	case slices.Contains([]string{"Authorization", "Host", "Connection", "Upgrade", "X-Forwarded-For", "X-Forwarded-Proto"}, key) || strings.HasPrefix(key, "Sec-Websocket-"):
		return fmt.Errorf("%s is the bridge's own to set", key)
	}
	if o.header == nil {
		o.header = http.Header{}
	}
	o.header.Add(name, value)
	return nil
}

func (o *options) setOfflineReply(v string) error {
	o.offlineReply = map[string]bool{}
	for _, action := range strings.Split(v, ",") {
		if action = strings.TrimSpace(action); !slices.Contains(bridge.Harmless, action) {
			return fmt.Errorf("%s cannot be answered in place of a central system; these can: %s", action, strings.Join(bridge.Harmless, ", "))
		}
		o.offlineReply[action] = true
	}
	return nil
}

// parse reads the command line, and the file that it names. What stands on the command
// line counts more; but routes of both are taken, those of the command line first.
func parse(args []string) (o options, err error) {
	fs := o.flags()
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.config != "" {
		if err := readConfig(o.config, fs); err != nil {
			return o, err
		}
	}
	return o, o.check()
}

func (o *options) check() error {
	positive := map[string]time.Duration{"dial-timeout": o.dialTimeout, "answer-timeout": o.answerTimeout, "drain-timeout": o.drain}
	for name, d := range positive {
		if d <= 0 {
			return fmt.Errorf("%s must be more than 0", name)
		}
	}
	switch {
	case o.socket == "":
		return errors.New("socket is missing")
	case len(o.routes.Routes) == 0:
		return errors.New(`no route: say where the central system is, such as route * ws://127.0.0.1:9000/ocpp/{identity}`)
	case o.auth != "none" && o.auth != "processor":
		return fmt.Errorf("auth %q: must be none or processor", o.auth)
	case o.auth == "processor" && o.upstreamAuth != "none":
		return errors.New("upstream-auth is for auth none: with auth processor chargers bring their own credentials")
	case (o.certificate == "") != (o.key == ""):
		return errors.New("upstream-cert and upstream-key belong together")
	case o.dialRate <= 0 || o.dialRate > 100_000:
		return errors.New("dial-rate must be more than 0, and 100000 at most")
	case o.attempts < 1:
		return errors.New("attempts must be 1 or more")
	case o.logBurst < 0:
		return errors.New("log-burst cannot be negative")
	case o.maxMessage < 1<<10:
		return errors.New("max-message must be 1024 or more")
	case o.ping > 0 && o.ping < time.Second:
		return errors.New("ping must be a second or more, or 0 for none")
	case o.ping < 0 || o.linger < 0 || o.callTimeout < 0:
		return errors.New("ping, linger and call-timeout cannot be negative")
	case o.bootOnRedial != "none" && o.bootOnRedial != "replay" && o.bootOnRedial != "trigger":
		return fmt.Errorf("boot-on-redial %q: must be none, replay or trigger", o.bootOnRedial)
	case o.logFormat != "text" && o.logFormat != "json":
		return fmt.Errorf("log-format %q: must be text or json", o.logFormat)
	}
	return o.routes.Check()
}

// logger returns the log that the options ask for; close writes what waits.
func (o *options) logger(w io.Writer) (log *slog.Logger, close func()) {
	return logging.New(w, logging.Options{
		Program: "holdfast-bridge", JSON: o.logFormat == "json", Level: o.logLevel, Burst: o.logBurst,
		OfChargers: []string{"connected to the central system", "lost the central system", "the central system does not answer", "the central system refuses a charger", "connected to a mirror", "lost a mirror", "a CALL of the central system has no answer", "the charger's route has changed"},
	})
}
