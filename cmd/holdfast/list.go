package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"holdfast/cmd/holdfast/admin"
)

func runList(i *invocation) error {
	if err := i.parse(); err != nil {
		return err
	}
	c, err := i.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	if len(i.args) > 0 {
		query.Set("glob", i.args[0])
	}
	resp, err := c.Do(http.MethodGet, "/chargers", query)
	var status *admin.StatusError
	if errors.As(err, &status) && status.Status == http.StatusBadRequest {
		return exit(exitUsage, "%w", err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if i.json {
		_, err := io.Copy(i.stdout, resp.Body)
		return err
	}
	t := tabwriter.NewWriter(i.stdout, 0, 0, 2, ' ', 0)
	now := time.Now()
	in := json.NewDecoder(resp.Body)
	for n := 0; ; n++ {
		var s admin.ChargerStatus
		switch err := in.Decode(&s); {
		case err == io.EOF:
			return t.Flush()
		case err != nil:
			return fmt.Errorf("answer of the gateway: %w", err)
		case i.names:
			fmt.Fprintln(t, s.Identity)
			continue
		case n == 0:
			fmt.Fprintln(t, "CHARGER\tSUBPROTOCOL\tTLS\tREMOTE\tCONNECTED\tPROCESSOR\tQUEUE\t")
		}
		note := ""
		if s.Paused {
			note = "not read from"
		}
		if s.Gone {
			note = "gone; what it sent before is not read yet"
		}
		if s.GivenBack > 0 {
			note = strings.TrimPrefix(fmt.Sprintf("%s, given back %d times", note, s.GivenBack), ", ")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", s.Identity, s.Subprotocol, s.TLS, s.Remote, age(now.Sub(s.Opened)), s.Processor, s.Queue, note)
	}
}
