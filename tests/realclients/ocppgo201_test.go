package realclients

import (
	"testing"
	"time"

	ocpp2 "github.com/lorenzodonini/ocpp-go/ocpp2.0.1"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/authorization"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/availability"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/meter"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/provisioning"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/transactions"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/types"

	"holdfast/tests/harness"
)

func TestOCPPGo201(t *testing.T) {
	w := harness.NewWithProcessor(t)
	cs := ocpp2.NewChargingStation("GO-201", nil, nil)
	if err := cs.Start(w.URL()); err != nil {
		t.Fatal(err)
	}
	defer cs.Stop()

	boot := must[*provisioning.BootNotificationResponse](t, "BootNotification")(
		cs.BootNotification(provisioning.BootReasonPowerUp, "model", "vendor"))
	if boot.Status != provisioning.RegistrationStatusAccepted || boot.Interval <= 0 {
		t.Fatalf("BootNotification: %+v", boot)
	}
	fresh(t, "BootNotification", boot.CurrentTime.Time)
	must[*availability.StatusNotificationResponse](t, "StatusNotification")(
		cs.StatusNotification(types.NewDateTime(time.Now()), availability.ConnectorStatusAvailable, 1, 1))
	beat := must[*availability.HeartbeatResponse](t, "Heartbeat")(cs.Heartbeat())
	fresh(t, "Heartbeat", beat.CurrentTime.Time)

	auth := must[*authorization.AuthorizeResponse](t, "Authorize")(cs.Authorize("04A2B3C4", types.IdTokenTypeISO14443))
	if auth.IdTokenInfo.Status != types.AuthorizationStatusAccepted {
		t.Fatalf("Authorize: %+v", auth.IdTokenInfo)
	}
	seq := 0
	event := func(kind transactions.TransactionEvent, reason transactions.TriggerReason, wh float64) *transactions.TransactionEventResponse {
		t.Helper()
		answer := must[*transactions.TransactionEventResponse](t, "TransactionEvent "+string(kind))(
			cs.TransactionEvent(kind, types.NewDateTime(time.Now()), reason, seq, transactions.Transaction{TransactionID: "T-1"},
				func(r *transactions.TransactionEventRequest) {
					connector := 1
					r.Evse = &types.EVSE{ID: 1, ConnectorID: &connector}
					r.MeterValue = meter201(wh)
					if kind == transactions.TransactionEventStarted {
						r.IDToken = &types.IdToken{IdToken: "04A2B3C4", Type: types.IdTokenTypeISO14443}
					}
				}))
		seq++
		return answer
	}
	begun := event(transactions.TransactionEventStarted, transactions.TriggerReasonAuthorized, 100)
	if begun.IDTokenInfo == nil || begun.IDTokenInfo.Status != types.AuthorizationStatusAccepted {
		t.Errorf("TransactionEvent Started with an idToken: %+v", begun)
	}
	event(transactions.TransactionEventUpdated, transactions.TriggerReasonMeterValuePeriodic, 101)
	must[*meter.MeterValuesResponse](t, "MeterValues")(cs.MeterValues(1, meter201(102)))
	event(transactions.TransactionEventEnded, transactions.TriggerReasonEVDeparted, 103)
	if !cs.IsConnected() {
		t.Error("not connected at the end")
	}
}
