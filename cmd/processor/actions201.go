package main

// actions201 is OCPP 2.0.1 edition 3, part 2: every message that a charging
// station starts.
var actions201 = map[string]action{
	"Authorize": {need(record("idToken", text("idToken", 255), text("type", 20))), authorize201},
	"BootNotification": {need(
		text("reason", 0),
		record("chargingStation", text("model", 20), text("vendorName", 50))), boot},
	"ClearedChargingLimit":       {need(text("chargingLimitSource", 20)), noted},
	"DataTransfer":               {need(text("vendorId", 255)), status("UnknownVendorId")},
	"FirmwareStatusNotification": {need(text("status", 0)), noted},
	"Get15118EVCertificate": {need(
		text("iso15118SchemaVersion", 50), oneOf("action", "Install", "Update"), text("exiRequest", 11000)), noContract},
	"GetCertificateStatus": {need(record("ocspRequestData",
		oneOf("hashAlgorithm", "SHA256", "SHA384", "SHA512"), text("issuerNameHash", 128),
		text("issuerKeyHash", 128), text("serialNumber", 40), text("responderURL", 2000))), status("Failed")},
	"Heartbeat":             {nil, heartbeat},
	"LogStatusNotification": {need(text("status", 0)), noted},
	"MeterValues": {need(
		integer("evseId"),
		list("meterValue", date("timestamp"), list("sampledValue", number("value")))), noted},
	"NotifyChargingLimit": {need(record("chargingLimit", text("chargingLimitSource", 20))), noted},
	"NotifyCustomerInformation": {need(
		text("data", 512), integer("seqNo"), date("generatedAt"), integer("requestId")), noted},
	"NotifyDisplayMessages": {need(integer("requestId")), noted},
	// Nobody here plans charging: the station need not wait for a profile.
	"NotifyEVChargingNeeds": {needsOfEV, status("Rejected")},
	"NotifyEVChargingSchedule": {need(
		date("timeBase"), integer("evseId"),
		record("chargingSchedule", integer("id"), oneOf("chargingRateUnit", "W", "A"),
			list("chargingSchedulePeriod", integer("startPeriod")))), status("Accepted")},
	"NotifyEvent": {need(
		date("generatedAt"), integer("seqNo"),
		list("eventData", integer("eventId"), date("timestamp"),
			oneOf("trigger", "Alerting", "Delta", "Periodic"), text("actualValue", 2500),
			text("eventNotificationType", 0),
			record("component", text("name", 50)), record("variable", text("name", 50)))), noted},
	"NotifyMonitoringReport":            {need(integer("requestId"), integer("seqNo"), date("generatedAt")), noted},
	"NotifyReport":                      {need(integer("requestId"), integer("seqNo"), date("generatedAt")), noted},
	"PublishFirmwareStatusNotification": {need(text("status", 0)), noted},
	"ReportChargingProfiles": {need(
		integer("requestId"), text("chargingLimitSource", 20), integer("evseId"),
		list("chargingProfile", integer("id"), integer("stackLevel"), text("chargingProfilePurpose", 0),
			text("chargingProfileKind", 0), list("chargingSchedule", integer("id")))), noted},
	"ReservationStatusUpdate":   {need(integer("reservationId"), text("reservationUpdateStatus", 0)), noted},
	"SecurityEventNotification": {need(text("type", 50), date("timestamp")), noted},
	"SignCertificate":           {need(text("csr", 5500)), status("Rejected")}, // no certificate authority
	"StatusNotification": {need(
		date("timestamp"),
		oneOf("connectorStatus", "Available", "Occupied", "Reserved", "Unavailable", "Faulted"),
		integer("evseId"), integer("connectorId")), noted},
	"TransactionEvent": {need(
		oneOf("eventType", "Started", "Updated", "Ended"), date("timestamp"), text("triggerReason", 0),
		integer("seqNo"), record("transactionInfo", text("transactionId", 36))), transactionEvent},
}

var needsOfEV = need(
	integer("evseId"), record("chargingNeeds", text("requestedEnergyTransfer", 0)))

// authorize201 accepts every token, except for a contract certificate (use case
// C07): there are no roots here to hold it against.
func authorize201(_ *central, r request) (object, error) {
	if r.has("certificate") || r.has("iso15118CertificateHashData") {
		return object{
			"idTokenInfo":       object{"status": "Invalid"},
			"certificateStatus": "NoCertificateAvailable",
		}, nil
	}
	return object{"idTokenInfo": accepted}, nil
}

// transactionEvent says something about a token only if the station gave one
// (use cases E01 to E07). Transaction ids are the station's in 2.x.
func transactionEvent(_ *central, r request) (object, error) {
	if !r.has("idToken") {
		return object{}, nil
	}
	return object{"idTokenInfo": accepted}, nil
}

// noContract: there is no contract certificate pool to ask (use case M01).
func noContract(*central, request) (object, error) {
	return object{"status": "Failed", "exiResponse": ""}, nil
}
