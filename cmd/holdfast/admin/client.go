package admin

import (
	"bufio"
	"bytes"
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

	"holdfast/unixipc"
)

// A Client asks the running gateway over its admin socket.
type Client struct {
	Socket string
	http   http.Client
}

// NewClient returns a client of the gateway that listens at socket.
func NewClient(socket string) *Client {
	return &Client{Socket: socket, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}}
}

// askAgain is how long a process that has been replaced may take to end. It is
// asked again at every askInterval. One that answers only after inLine that it was
// replaced served the upgrade of somebody else, who was first: the time begins anew.
const (
	askAgain    = 2 * time.Second
	askInterval = 10 * time.Millisecond
	inLine      = 100 * time.Millisecond
)

// Do asks the gateway. A process that is being replaced by an upgrade does nothing
// of what it is asked for; then the new one is asked.
func (c *Client) Do(method, path string, query url.Values) (*http.Response, error) {
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
			return nil, &UnreachableError{c.Socket, err}
		case resp.StatusCode != http.StatusOK:
			b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
			_ = resp.Body.Close()
			return nil, &StatusError{resp.StatusCode, strings.TrimSpace(string(b))}
		}
		return resp, nil
	}
}

// StatusError is an answer of the gateway other than 200.
type StatusError struct {
	Status int
	text   string
}

// Error returns the text of the answer, or its status.
func (e *StatusError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("the gateway answered %d %s", e.Status, http.StatusText(e.Status))
	}
	return e.text
}

// An UnreachableError is why the gateway cannot be asked. Its text names the remedy.
type UnreachableError struct {
	Socket string
	Err    error
}

// Error implements error.
func (e *UnreachableError) Error() string {
	switch {
	case errors.Is(e.Err, os.ErrPermission):
		return fmt.Sprintf("this user may not use %s: be root, the gateway's user, or of the group of its -admin-group", e.Socket)
	case errors.Is(e.Err, os.ErrNotExist):
		return fmt.Sprintf("no gateway answers at %s: there is no such socket; -admin-socket or -config says where it is", e.Socket)
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return fmt.Sprintf("no gateway answers at %s: nobody listens there any more", e.Socket)
	}
	return fmt.Sprintf("no gateway answers at %s: %v", e.Socket, e.Err)
}

// Unwrap returns the error of the connection.
func (e *UnreachableError) Unwrap() error { return e.Err }

// replaced reports whether another upgrade has just replaced the process that was
// asked: it answers 503, or has ended without an answer.
func replaced(resp *http.Response, err error) bool {
	if err != nil {
		return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
	}
	return resp.StatusCode == http.StatusServiceUnavailable
}

// Get decodes an answer in JSON into to.
func (c *Client) Get(path string, query url.Values, to any) error {
	resp, err := c.Do(http.MethodGet, path, query)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(to); err != nil {
		return fmt.Errorf("answer of the gateway: %w", err)
	}
	return nil
}

// Link returns a connection on the admin socket that has become a link, for its
// HELLO. The caller owns it.
func (c *Client) Link(ctx context.Context) (net.Conn, error) {
	for until := time.Now().Add(askAgain); ; time.Sleep(askInterval) {
		conn, resp, err := c.askLink(ctx)
		switch {
		case replaced(resp, err) && time.Now().Before(until) && ctx.Err() == nil:
			continue
		case err != nil:
			return nil, err
		case resp.StatusCode != http.StatusSwitchingProtocols:
			return nil, fmt.Errorf("it answered %s", resp.Status)
		}
		return conn, nil
	}
}

// askLink asks once. It leaves the connection open if the answer is 101.
func (c *Client) askLink(ctx context.Context) (net.Conn, *http.Response, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, "GET /link HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: "+linkProtocol+"\r\n\r\n"); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	// Nothing follows the answer before our HELLO, so nothing is read too much.
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 4096), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		_ = conn.Close()
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF // the process has ended without an answer
	}
	return conn, resp, err
}

// AskVerdict asks the process that has taken over whether a charger may connect,
// until the deadline of ctx.
func AskVerdict(ctx context.Context, body unixipc.AuthorizeBody, adminSocket string) (v unixipc.VerdictBody, err error) {
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", adminSocket)
		},
	}}
	b, err := json.Marshal(body)
	if err != nil {
		return v, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway/authorize", bytes.NewReader(b))
	if err != nil {
		return v, err
	}
	deadline, _ := ctx.Deadline()
	req.Header.Set(deadlineHeader, deadline.Format(time.RFC3339Nano))
	resp, err := c.Do(req)
	if err != nil {
		return v, fmt.Errorf("ask the process that has taken over: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("the process that has taken over answered %s", resp.Status)
	}
	return v, json.NewDecoder(resp.Body).Decode(&v)
}
