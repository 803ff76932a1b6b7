package main

import (
	"encoding/json"
	"time"
)

// actions21 is OCPP 2.1, part 2: what 2.0.1 has, and what a charging station
// starts beyond it. NotifyPeriodicEventStream is not among them: it is no CALL
// but a SEND, which is not answered.
var actions21 = extended(actions201, map[string]action{
	"BatterySwap": {need(
		oneOf("eventType", "BatteryIn", "BatteryOut", "BatteryOutTimeout"), integer("requestId"),
		record("idToken", text("idToken", 255), text("type", 20)),
		list("batteryData", integer("evseId"), text("serialNumber", 50), number("soC"), number("soH"))), noted},
	"ClosePeriodicEventStream": {need(integer("id")), noted},
	"GetCertificateChainStatus": {need(list("certificateStatusRequests",
		oneOf("source", "CRL", "OCSP"), list("urls"),
		record("certificateHashData",
			oneOf("hashAlgorithm", "SHA256", "SHA384", "SHA512"), text("issuerNameHash", 128),
			text("issuerKeyHash", 128), text("serialNumber", 40)))), chainStatus},
	"NotifyDERAlarm":     {need(text("controlType", 0), date("timestamp")), noted},
	"NotifyDERStartStop": {need(text("controlId", 36), boolean("started"), date("timestamp")), noted},
	// 2.1 has the word that fits better: there will be no profile.
	"NotifyEVChargingNeeds":  {needsOfEV, status("NoChargingProfile")},
	"NotifyPriorityCharging": {need(text("transactionId", 36), boolean("activated")), noted},
	"NotifySettlement": {need(
		text("pspRef", 255), oneOf("status", "Settled", "Canceled", "Rejected", "Failed"),
		number("settlementAmount"), date("settlementTime")), noted},
	"NotifyWebPaymentStarted": {need(integer("evseId"), integer("timeout")), noted},
	"OpenPeriodicEventStream": {need(record("constantStreamData",
		integer("id"), integer("variableMonitoringId"), record("params"))), status("Accepted")},
	"PullDynamicScheduleUpdate": {need(integer("chargingProfileId")), status("Rejected")}, // no profile is ours
	"ReportDERControl":          {need(integer("requestId")), noted},
	"VatNumberValidation":       {need(text("vatNumber", 20)), vatNumber},
})

// chainStatus asks no OCSP responder and reads no revocation list, and says so
// of each certificate, with the time when asking again makes sense.
func chainStatus(c *central, r request) (object, error) {
	var asked []map[string]json.RawMessage
	_ = json.Unmarshal(r.field("certificateStatusRequests"), &asked) // it was checked
	next := timestamp(c.now().Add(24 * time.Hour))
	var list []object
	for _, a := range asked {
		list = append(list, object{
			"source":              a["source"],
			"status":              "Failed",
			"nextUpdate":          next,
			"certificateHashData": a["certificateHashData"],
		})
	}
	return object{"certificateStatus": list}, nil
}

// vatNumber is confirmed by nobody here. The answer repeats what was asked.
func vatNumber(_ *central, r request) (object, error) {
	answer := object{"status": "Rejected", "vatNumber": r.field("vatNumber")}
	if evse := r.field("evseId"); kindInteger.fits(evse) {
		answer["evseId"] = evse
	}
	return answer, nil
}
