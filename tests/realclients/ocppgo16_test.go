package realclients

import (
	"testing"
	"time"

	ocpp16 "github.com/lorenzodonini/ocpp-go/ocpp1.6"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/types"

	"holdfast/tests/harness"
)

func TestOCPPGo16(t *testing.T) {
	w := harness.NewWithProcessor(t)
	cp := ocpp16.NewChargePoint("GO-16", nil, nil)
	if err := cp.Start(w.URL()); err != nil {
		t.Fatal(err)
	}
	defer cp.Stop()

	boot := must[*core.BootNotificationConfirmation](t, "BootNotification")(cp.BootNotification("model", "vendor"))
	if boot.Status != core.RegistrationStatusAccepted || boot.Interval <= 0 {
		t.Fatalf("BootNotification: %+v", boot)
	}
	fresh(t, "BootNotification", boot.CurrentTime.Time)
	must[*core.StatusNotificationConfirmation](t, "StatusNotification")(
		cp.StatusNotification(1, core.NoError, core.ChargePointStatusAvailable))
	beat := must[*core.HeartbeatConfirmation](t, "Heartbeat")(cp.Heartbeat())
	fresh(t, "Heartbeat", beat.CurrentTime.Time)

	seen := map[int]bool{}
	for range 2 {
		auth := must[*core.AuthorizeConfirmation](t, "Authorize")(cp.Authorize("04A2B3C4"))
		if auth.IdTagInfo.Status != types.AuthorizationStatusAccepted {
			t.Fatalf("Authorize: %+v", auth.IdTagInfo)
		}
		begun := must[*core.StartTransactionConfirmation](t, "StartTransaction")(
			cp.StartTransaction(1, "04A2B3C4", 100, types.NewDateTime(time.Now())))
		if begun.IdTagInfo.Status != types.AuthorizationStatusAccepted || seen[begun.TransactionId] {
			t.Fatalf("StartTransaction: %+v after %v", begun, seen)
		}
		seen[begun.TransactionId] = true
		for i := range 3 {
			must[*core.MeterValuesConfirmation](t, "MeterValues")(
				cp.MeterValues(1, meter16(float64(100+i)), func(r *core.MeterValuesRequest) { r.TransactionId = &begun.TransactionId }))
		}
		must[*core.StopTransactionConfirmation](t, "StopTransaction")(
			cp.StopTransaction(103, types.NewDateTime(time.Now()), begun.TransactionId, func(r *core.StopTransactionRequest) {
				r.TransactionData = meter16(103)
				r.Reason = core.ReasonEVDisconnected
			}))
	}
	if !cp.IsConnected() {
		t.Error("not connected at the end")
	}
}
