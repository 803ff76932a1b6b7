package bridge

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	ocpp16 "github.com/lorenzodonini/ocpp-go/ocpp1.6"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/types"
	ocpp2 "github.com/lorenzodonini/ocpp-go/ocpp2.0.1"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/authorization"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/availability"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/provisioning"
	types2 "github.com/lorenzodonini/ocpp-go/ocpp2.0.1/types"

	"holdfast/tests/central"
)

// freePort returns a port of loopback that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// central16 answers as a central system of OCPP 1.6 must.
type central16 struct {
	core.CentralSystemHandler // what no test uses
}

func (central16) OnBootNotification(string, *core.BootNotificationRequest) (*core.BootNotificationConfirmation, error) {
	return core.NewBootNotificationConfirmation(types.NewDateTime(time.Now()), 300, core.RegistrationStatusAccepted), nil
}

func (central16) OnHeartbeat(string, *core.HeartbeatRequest) (*core.HeartbeatConfirmation, error) {
	return core.NewHeartbeatConfirmation(types.NewDateTime(time.Now())), nil
}

func (central16) OnAuthorize(string, *core.AuthorizeRequest) (*core.AuthorizeConfirmation, error) {
	return core.NewAuthorizationConfirmation(types.NewIdTagInfo(types.AuthorizationStatusAccepted)), nil
}

func (central16) OnStartTransaction(string, *core.StartTransactionRequest) (*core.StartTransactionConfirmation, error) {
	return core.NewStartTransactionConfirmation(types.NewIdTagInfo(types.AuthorizationStatusAccepted), 17), nil
}

func (central16) OnStopTransaction(string, *core.StopTransactionRequest) (*core.StopTransactionConfirmation, error) {
	return core.NewStopTransactionConfirmation(), nil
}

// station16 answers the one CALL that the central system makes.
type station16 struct{ core.ChargePointHandler }

func (station16) OnReset(*core.ResetRequest) (*core.ResetConfirmation, error) {
	return core.NewResetConfirmation(core.ResetStatusAccepted), nil
}

// start16 runs a central system of ocpp-go; stop ends it.
func start16(t *testing.T, port int) (cs ocpp16.CentralSystem, stop func()) {
	cs = ocpp16.NewCentralSystem(nil, nil)
	cs.SetCoreHandler(central16{})
	go cs.Start(port, "/cs/{ws}")
	waitFor(t, port)
	return cs, cs.Stop
}

func waitFor(t *testing.T, port int) {
	t.Helper()
	if err := central.Wait(deadline(t), "the central system", func() bool {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A charger of ocpp-go, before a central system of ocpp-go that is restarted amid a
// transaction, by way of bridges that are released.
func TestOCPPGo16(t *testing.T) {
	w := newWorld(t, central.Config{})
	port := freePort(t)
	cs, stop := start16(t, port)
	route := []string{"-route", fmt.Sprintf("* ws://127.0.0.1:%d/cs/{identity}", port)}
	b := w.bridge(route...)
	cp := ocpp16.NewChargePoint("GO-16", nil, nil)
	cp.SetCoreHandler(station16{})
	if err := cp.Start(w.URL()); err != nil {
		t.Fatal(err)
	}
	defer cp.Stop()
	if boot, err := cp.BootNotification("model", "vendor"); err != nil || boot.Status != core.RegistrationStatusAccepted {
		t.Fatalf("%+v, %v", boot, err)
	}
	if auth, err := cp.Authorize("04A2B3C4"); err != nil || auth.IdTagInfo.Status != types.AuthorizationStatusAccepted {
		t.Fatalf("%+v, %v", auth, err)
	}
	begun, err := cp.StartTransaction(1, "04A2B3C4", 100, types.NewDateTime(time.Now()))
	if err != nil || begun.TransactionId != 17 {
		t.Fatalf("%+v, %v", begun, err)
	}
	reset := func() {
		t.Helper()
		done := make(chan error, 1)
		var err error
		for range 50 { // the bridge may be on its way to the new one
			if err = cs.Reset("GO-16", func(c *core.ResetConfirmation, err error) {
				if err == nil && c.Status != core.ResetStatusAccepted {
					err = fmt.Errorf("%+v", c)
				}
				done <- err
			}, core.ResetTypeSoft); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err == nil {
			select {
			case err = <-done:
			case <-time.After(20 * time.Second):
				err = context.DeadlineExceeded
			}
		}
		if err != nil {
			t.Error("Reset:", err)
		}
	}
	reset()
	stop()
	cs, stop = start16(t, port)
	if _, err := cp.Heartbeat(); err != nil {
		t.Error(err)
	}
	reset()
	w.Terminate(b)
	b = w.bridge(route...)
	if _, err := cp.Heartbeat(); err != nil {
		t.Error(err)
	}
	w.Kill(b)
	w.bridge(route...)
	w.MustUpgrade()
	if _, err := cp.StopTransaction(103, types.NewDateTime(time.Now()), 17); err != nil {
		t.Error(err)
	}
	reset()
	if !cp.IsConnected() {
		t.Error("the charger was dropped")
	}
	stop()
}

// The handlers of a central system of OCPP 2.0.1.
type (
	provisioning201  struct{ provisioning.CSMSHandler }
	availability201  struct{ availability.CSMSHandler }
	authorization201 struct{ authorization.CSMSHandler }
	station201       struct {
		provisioning.ChargingStationHandler
	}
)

func (provisioning201) OnBootNotification(string, *provisioning.BootNotificationRequest) (*provisioning.BootNotificationResponse, error) {
	return provisioning.NewBootNotificationResponse(types2.NewDateTime(time.Now()), 300, provisioning.RegistrationStatusAccepted), nil
}

func (availability201) OnHeartbeat(string, *availability.HeartbeatRequest) (*availability.HeartbeatResponse, error) {
	return availability.NewHeartbeatResponse(*types2.NewDateTime(time.Now())), nil
}

func (authorization201) OnAuthorize(string, *authorization.AuthorizeRequest) (*authorization.AuthorizeResponse, error) {
	return authorization.NewAuthorizationResponse(types2.IdTokenInfo{Status: types2.AuthorizationStatusAccepted}), nil
}

func (station201) OnReset(*provisioning.ResetRequest) (*provisioning.ResetResponse, error) {
	return provisioning.NewResetResponse(provisioning.ResetStatusAccepted), nil
}

// The same for OCPP 2.0.1.
func TestOCPPGo201(t *testing.T) {
	w := newWorld(t, central.Config{})
	port := freePort(t)
	run := func() ocpp2.CSMS {
		cs := ocpp2.NewCSMS(nil, nil)
		cs.SetProvisioningHandler(provisioning201{})
		cs.SetAvailabilityHandler(availability201{})
		cs.SetAuthorizationHandler(authorization201{})
		go cs.Start(port, "/cs/{ws}")
		waitFor(t, port)
		return cs
	}
	cs := run()
	w.bridge("-route", fmt.Sprintf("* ws://127.0.0.1:%d/cs/{identity}", port))
	station := ocpp2.NewChargingStation("GO-201", nil, nil)
	station.SetProvisioningHandler(station201{})
	if err := station.Start(w.URL()); err != nil {
		t.Fatal(err)
	}
	defer station.Stop()
	if boot, err := station.BootNotification(provisioning.BootReasonPowerUp, "model", "vendor"); err != nil || boot.Status != provisioning.RegistrationStatusAccepted {
		t.Fatalf("%+v, %v", boot, err)
	}
	done := make(chan error, 1)
	if err := cs.Reset("GO-201", func(_ *provisioning.ResetResponse, err error) { done <- err }, provisioning.ResetTypeOnIdle); err != nil {
		t.Error(err)
	} else if err := <-done; err != nil {
		t.Error("Reset:", err)
	}
	cs.Stop()
	cs = run()
	if auth, err := station.Authorize("04A2B3C4", types2.IdTokenTypeISO14443); err != nil || auth.IdTokenInfo.Status != types2.AuthorizationStatusAccepted {
		t.Errorf("%+v, %v", auth, err)
	}
	w.MustUpgrade()
	if _, err := station.Heartbeat(); err != nil || !station.IsConnected() {
		t.Error(err)
	}
	cs.Stop()
}
