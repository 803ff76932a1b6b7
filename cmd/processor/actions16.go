package main

import (
	"encoding/json"
	"fmt"
)

// actions16 is OCPP 1.6 edition 2, section 4, and what a charge point starts of
// the security whitepaper (edition 3).
var actions16 = map[string]action{
	"Authorize": {need(text("idTag", 20)), authorize16},
	"BootNotification": {need(
		text("chargePointVendor", 20), text("chargePointModel", 20)), boot},
	"DataTransfer":                  {need(text("vendorId", 255)), status("UnknownVendorId")},
	"DiagnosticsStatusNotification": {need(text("status", 0)), noted},
	"FirmwareStatusNotification":    {need(text("status", 0)), noted},
	"Heartbeat":                     {nil, heartbeat},
	"MeterValues": {need(
		integer("connectorId"),
		list("meterValue", date("timestamp"), list("sampledValue", text("value", 0)))), noted},
	"StartTransaction": {need(
		integer("connectorId"), text("idTag", 20), integer("meterStart"), date("timestamp")), startTransaction},
	"StatusNotification": {need(
		integer("connectorId"),
		oneOf("errorCode",
			"ConnectorLockFailure", "EVCommunicationError", "GroundFailure", "HighTemperature",
			"InternalError", "LocalListConflict", "NoError", "OtherError", "OverCurrentFailure",
			"OverVoltage", "PowerMeterFailure", "PowerSwitchFailure", "ReaderFailure",
			"ResetFailure", "UnderVoltage", "WeakSignal"),
		oneOf("status",
			"Available", "Preparing", "Charging", "SuspendedEVSE", "SuspendedEV", "Finishing",
			"Reserved", "Unavailable", "Faulted")), noted},
	"StopTransaction": {need(
		integer("transactionId"), integer("meterStop"), date("timestamp")), stopTransaction},

	// Security whitepaper. There is no certificate authority behind us.
	"LogStatusNotification":            {need(text("status", 0)), noted},
	"SecurityEventNotification":        {need(text("type", 50), date("timestamp")), noted},
	"SignCertificate":                  {need(text("csr", 5500)), status("Rejected")},
	"SignedFirmwareStatusNotification": {need(text("status", 0)), noted},
}

func authorize16(*central, request) (object, error) {
	return object{"idTagInfo": accepted}, nil
}

func startTransaction(c *central, r request) (object, error) {
	id, err := c.transactions.start(r.identity, r.payload)
	if err != nil {
		return nil, fmt.Errorf("no transaction id: %w", err)
	}
	return object{"transactionId": id, "idTagInfo": accepted}, nil
}

// stopTransaction says something about an id tag only if the charger gave one
// (section 4.10: it may stop without).
func stopTransaction(c *central, r request) (object, error) {
	var id int32
	if json.Unmarshal(r.field("transactionId"), &id) == nil {
		c.transactions.stop(r.identity, id)
	}
	if !r.has("idTag") {
		return object{}, nil
	}
	return object{"idTagInfo": accepted}, nil
}
