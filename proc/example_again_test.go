package proc_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"

	"holdfast/proc"
	"holdfast/proc/proctest"
)

// answers remembers what the last messages of each charger were answered with. A
// Handler has the messages of one charger one by one; a lock, or a table with a key
// on (charger, digest), keeps those of several apart.
type answers struct {
	replies map[string]map[[sha256.Size]byte][]byte
	order   map[string][][sha256.Size]byte
}

const remembered = 16 // a charger: it has one message at a time on its way

// once calls do for a message that is new, and gives one that comes again the
// answer that it had.
func (a *answers) once(identity string, message []byte, do func() ([]byte, error)) ([]byte, error) {
	key := sha256.Sum256(message) // not its id alone: many count from 1 again after a reboot
	if reply, known := a.replies[identity][key]; known {
		return reply, nil
	}
	reply, err := do()
	if err != nil {
		return nil, err // it comes again
	}
	if a.replies[identity] == nil {
		a.replies[identity] = map[[sha256.Size]byte][]byte{}
	}
	a.replies[identity][key] = reply
	a.order[identity] = append(a.order[identity], key)
	if len(a.order[identity]) > remembered {
		delete(a.replies[identity], a.order[identity][0])
		a.order[identity] = a.order[identity][1:]
	}
	return reply, nil
}

// A StartTransaction that comes again is the same transaction.
func Example_messagesThatComeAgain() {
	gw, err := proctest.Config{}.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Stop()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	transactions := 0
	a := answers{map[string]map[[sha256.Size]byte][]byte{}, map[string][][sha256.Size]byte{}}
	handle := func(_ context.Context, ch *proc.Charger, m proc.Message) ([]byte, error) {
		return a.once(ch.Identity(), m.Payload, func() ([]byte, error) {
			transactions++ // into the database, together with the answer
			return fmt.Appendf(nil, `[3,"1",{"transactionId":%d,"idTagInfo":{"status":"Accepted"}}]`, transactions), nil
		})
	}
	go func() {
		done <- proc.Config{Logger: slog.New(slog.DiscardHandler)}.Run(ctx, gw.Socket(), handle)
	}()

	gw.Open("CP1", "ocpp1.6")
	start := []byte(`[2,"1","StartTransaction",{"connectorId":1,"idTag":"T","meterStart":0,"timestamp":"2026-01-31T12:00:00Z"}]`)
	for range 2 { // the charger did not see the first answer
		reply, err := gw.Call(ctx, "CP1", start)
		fmt.Println(string(reply), err)
	}
	stop()
	fmt.Println(<-done)
	// Output:
	// [3,"1",{"transactionId":1,"idTagInfo":{"status":"Accepted"}}] <nil>
	// [3,"1",{"transactionId":1,"idTagInfo":{"status":"Accepted"}}] <nil>
	// <nil>
}
