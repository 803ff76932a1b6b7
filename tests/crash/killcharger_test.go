package crash

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/tests/raw"
	"holdfast/tests/sim"
)

// charger is one that does what a script says, and takes nothing that it does not expect.
type charger struct {
	r         *rig
	number    int
	transport string
	tcp       *net.TCPConn
	nc        net.Conn
	br        *bufio.Reader
	seq       uint32
}

func (r *rig) newCharger(transport string) *charger {
	r.numbers++
	return &charger{r: r, number: r.numbers, transport: transport}
}

func (c *charger) identity() string { return fmt.Sprintf("KILL-%s-%d", c.transport, c.number) }

// segment is the size of TCP segments of a charger with a small receive buffer: the kernel
// takes as much as ten of them from a sender that cannot know better.
const segment = 1400

// dial connects; with a receive buffer of so many bytes, if it is not 0.
func (c *charger) dial(addr string, buffer int) error {
	d := net.Dialer{Timeout: patience, Control: func(_, _ string, rc syscall.RawConn) (err error) {
		if buffer > 0 {
			_ = rc.Control(func(fd uintptr) {
				err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, buffer),
					unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, segment))
			})
		}
		return err
	}}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c.tcp = nc.(*net.TCPConn)
	_ = nc.SetDeadline(time.Now().Add(patience))
	if c.transport != "ws" {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if nc, err = suiteOf[c.transport].Dial(ctx, nc, addr, c.r.TLS.Client()); err != nil {
			return err
		}
	}
	resp, br, err := raw.Handshake(nc, c.identity())
	if err == nil && resp.StatusCode != 101 {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	if err != nil {
		_ = nc.Close()
		return err
	}
	c.nc, c.br = nc, br
	return nil
}

// write writes bytes of frames.
func (c *charger) write(s string) error {
	_ = c.nc.SetDeadline(time.Now().Add(patience))
	_, err := io.WriteString(c.nc, s)
	return err
}

// read reads a frame, which must have an opcode.
func (c *charger) read(want byte) (payload string, err error) {
	_ = c.nc.SetDeadline(time.Now().Add(patience))
	op, payload, err := raw.Read(c.br)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", errors.New("lost: nothing comes")
	case err != nil:
		return "", fmt.Errorf("dropped: %w", err)
	case op != want:
		return "", fmt.Errorf("unexpected: a frame with opcode %d, %.200q", op, payload)
	}
	return payload, nil
}

// next is the id of the next message, which must come to the processor.
func (c *charger) next() string {
	c.seq++
	id := sim.MessageID{Run: c.r.run, Charger: c.number, Seq: c.seq}.String()
	c.r.ledger.expect(id)
	return id
}

// answered reads the answer to a message.
func (c *charger) answered(id string) error {
	payload, err := c.read(raw.OpText)
	if err == nil && !strings.HasPrefix(payload, `[3,"`+id+`",`) {
		err = fmt.Errorf("unexpected instead of the answer to %s: %.200q", id, payload)
	}
	return err
}

// message sends one and reads its answer.
func (c *charger) message() error {
	id := c.next()
	c.r.at("a charger sends a message")
	if err := c.write(raw.Text(`[2,"` + id + `","Heartbeat",{}]`)); err != nil {
		return err
	}
	c.r.at("a charger waits for its answer")
	return c.answered(id)
}

// alive sends a ping; nothing may have come but the answer to it.
func (c *charger) alive() error {
	if err := c.write(raw.Ping()); err != nil {
		return err
	}
	_, err := c.read(raw.OpPong)
	return err
}

// call reads a CALL, and answers it.
func (c *charger) call() error {
	payload, err := c.read(raw.OpText)
	if err != nil {
		return err
	}
	id, err := callID(payload)
	if err != nil {
		return err
	}
	c.r.at("a charger answers a CALL")
	return c.write(raw.Text(`[3,"` + id + `",{"status":"Accepted","data":"` + c.identity() + `"}]`))
}

func callID(payload string) (id string, err error) {
	var parts []json.RawMessage
	if err := json.Unmarshal([]byte(payload), &parts); err != nil || len(parts) != 4 || string(parts[0]) != "2" {
		return "", fmt.Errorf("unexpected instead of a CALL: %.200q", payload)
	}
	return id, json.Unmarshal(parts[1], &id)
}

// closed reads the end of the stream.
func (c *charger) closed() error {
	_ = c.nc.SetDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c.br)
	_ = c.nc.Close()
	switch {
	case err != nil:
		return fmt.Errorf("after the Close frames: %w", err)
	case len(b) > 0:
		return fmt.Errorf("after the Close frames: %q", b)
	}
	return nil
}

// held is how many bytes the socket has received that were not read.
func (c *charger) held() (n int) {
	rc, err := c.tcp.SyscallConn()
	if err == nil {
		_ = rc.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
	}
	return n
}

// ledgerTail reads what the processor notes.
type ledgerTail struct {
	path string
	from int64
	sent []string
	seen map[string]int
}

func (l *ledgerTail) expect(id string) { l.sent = append(l.sent, id) }

// check holds new lines to the promise: each message once, in order, none redelivered.
func (l *ledgerTail) check() error {
	f, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, l.from, 1<<40))
	if err != nil {
		return err
	}
	l.from += int64(len(b))
	if l.seen == nil {
		l.seen = map[string]int{}
	}
	var faults []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 4 {
			if l.seen[f[2]]++; l.seen[f[2]] > 1 {
				faults = append(faults, "delivered again: "+strings.TrimSpace(line))
			}
			if f[3] != "-" {
				faults = append(faults, "redelivered: "+strings.TrimSpace(line))
			}
		}
	}
	for _, id := range l.sent {
		if l.seen[id] == 0 {
			faults = append(faults, "answered, but never delivered: "+id)
		}
	}
	l.sent = nil
	if len(faults) > 0 {
		return fmt.Errorf("the ledger: %s", strings.Join(faults, "; "))
	}
	return nil
}
