package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"holdfast/cmd/holdfast/config"
)

// defaultAdminSocket is where the gateway has it that is not told otherwise.
const defaultAdminSocket = "/run/holdfast/admin.sock"

// A client talks to the running gateway over its admin socket.
type client struct {
	socket string
	http   http.Client
}

// client is one for the socket that the command line, or the configuration that
// it names, says.
func (i *invocation) client() (*client, error) {
	socket := i.socket
	if socket == "" {
		var args []string
		if i.config != "" {
			args = []string{"-config", i.config}
		}
		// Other faults of the configuration are for the gateway to report: it is
		// the one that refuses them.
		c, faults := config.Parse(args)
		if c.Admin == "" {
			return nil, config.Faults(faults)
		}
		socket = c.Admin
	}
	return &client{socket: socket, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}}, nil
}

// askAgain is how long a process that has been replaced may take to end; it is
// asked again at every askInterval. One that takes longer than inLine to say that
// it was replaced had been upgraded by somebody else who was first.
const (
	askAgain    = 2 * time.Second
	askInterval = 10 * time.Millisecond
	inLine      = 100 * time.Millisecond
)

// do asks the gateway. If the process that was asked is just being replaced by
// an upgrade, so that it has not done it, the new one is asked.
func (c *client) do(method, path string, query url.Values) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "gateway", Path: path, RawQuery: query.Encode()}
	var until time.Time
	for ; ; time.Sleep(askInterval) {
		asked := time.Now()
		req, err := http.NewRequest(method, u.String(), nil)
		if err != nil {
			return nil, err
		}
		resp, err := c.http.Do(req)
		if replaced(resp, err) {
			if until.IsZero() || time.Since(asked) > inLine {
				until = time.Now().Add(askAgain)
			}
			if time.Now().Before(until) {
				if err == nil {
					_ = resp.Body.Close()
				}
				continue
			}
		}
		switch {
		case err != nil:
			return nil, c.unreachable(err)
		case resp.StatusCode != http.StatusOK:
			b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
			_ = resp.Body.Close()
			return nil, &statusError{resp.StatusCode, strings.TrimSpace(string(b))}
		}
		return resp, nil
	}
}

// statusError is an answer of the gateway other than 200.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("the gateway answered %d %s", e.status, http.StatusText(e.status))
	}
	return e.text
}

// unreachable says why the gateway cannot be asked, and what to do.
func (c *client) unreachable(err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return exit(exitUnreachable, "this user may not use %s: be root, the gateway's user, or of the group of its -admin-group", c.socket)
	case errors.Is(err, os.ErrNotExist):
		return exit(exitUnreachable, "no gateway answers at %s: there is no such socket; -admin-socket or -config says where it is", c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return exit(exitUnreachable, "no gateway answers at %s: nobody listens there any more", c.socket)
	}
	return exit(exitUnreachable, "no gateway answers at %s: %w", c.socket, err)
}

// replaced tells that another upgrade has just replaced the process that was
// asked: it says so, or has ended without a word.
func replaced(resp *http.Response, err error) bool {
	if err != nil {
		return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	}
	return resp.StatusCode == http.StatusServiceUnavailable
}

// get reads an answer in JSON into to.
func (c *client) get(path string, query url.Values, to any) error {
	resp, err := c.do(http.MethodGet, path, query)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(to); err != nil {
		return fmt.Errorf("answer of the gateway: %w", err)
	}
	return nil
}
