package main

import "maps"

// requests are the smallest valid requests of all actions. They were held
// against the official JSON schemas, as were the answers to them.
var requests = map[version]map[string]string{v16: requests16, v201: requests201, v21: requests21}

var requests16 = map[string]string{
	"Authorize":                        `{"idTag":"04E1"}`,
	"BootNotification":                 `{"chargePointVendor":"V","chargePointModel":"M"}`,
	"DataTransfer":                     `{"vendorId":"com.example"}`,
	"DiagnosticsStatusNotification":    `{"status":"Idle"}`,
	"FirmwareStatusNotification":       `{"status":"Idle"}`,
	"Heartbeat":                        `{}`,
	"LogStatusNotification":            `{"status":"Idle","requestId":1}`,
	"MeterValues":                      `{"connectorId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z","sampledValue":[{"value":"1"}]}]}`,
	"SecurityEventNotification":        `{"type":"StartupOfTheDevice","timestamp":"2026-01-31T12:00:00Z"}`,
	"SignCertificate":                  `{"csr":"-----BEGIN CERTIFICATE REQUEST-----"}`,
	"SignedFirmwareStatusNotification": `{"status":"Idle"}`,
	"StartTransaction":                 `{"connectorId":1,"idTag":"04E1","meterStart":0,"timestamp":"2026-01-31T12:00:00Z"}`,
	"StatusNotification":               `{"connectorId":0,"errorCode":"NoError","status":"Available"}`,
	"StopTransaction":                  `{"transactionId":7,"meterStop":900,"timestamp":"2026-01-31T12:00:00Z"}`,
}

var requests201 = map[string]string{
	"Authorize":                         `{"idToken":{"idToken":"04E1","type":"ISO14443"}}`,
	"BootNotification":                  `{"reason":"PowerUp","chargingStation":{"model":"M","vendorName":"V"}}`,
	"ClearedChargingLimit":              `{"chargingLimitSource":"EMS"}`,
	"DataTransfer":                      `{"vendorId":"com.example"}`,
	"FirmwareStatusNotification":        `{"status":"Idle"}`,
	"Get15118EVCertificate":             `{"iso15118SchemaVersion":"urn:iso:15118:2:2013:MsgDef","action":"Install","exiRequest":"gJgC"}`,
	"GetCertificateStatus":              `{"ocspRequestData":{"hashAlgorithm":"SHA256","issuerNameHash":"a","issuerKeyHash":"b","serialNumber":"1","responderURL":"http://ocsp.example"}}`,
	"Heartbeat":                         `{}`,
	"LogStatusNotification":             `{"status":"Idle"}`,
	"MeterValues":                       `{"evseId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00.000Z","sampledValue":[{"value":1.5}]}]}`,
	"NotifyChargingLimit":               `{"chargingLimit":{"chargingLimitSource":"EMS"}}`,
	"NotifyCustomerInformation":         `{"data":"none","seqNo":0,"generatedAt":"2026-01-31T12:00:00Z","requestId":1}`,
	"NotifyDisplayMessages":             `{"requestId":1}`,
	"NotifyEVChargingNeeds":             `{"evseId":1,"chargingNeeds":{"requestedEnergyTransfer":"DC"}}`,
	"NotifyEVChargingSchedule":          `{"timeBase":"2026-01-31T12:00:00Z","evseId":1,"chargingSchedule":{"id":1,"chargingRateUnit":"W","chargingSchedulePeriod":[{"startPeriod":0,"limit":11000}]}}`,
	"NotifyEvent":                       `{"generatedAt":"2026-01-31T12:00:00Z","seqNo":0,"eventData":[{"eventId":1,"timestamp":"2026-01-31T12:00:00Z","trigger":"Alerting","actualValue":"1","eventNotificationType":"HardWiredMonitor","component":{"name":"EVSE"},"variable":{"name":"Power"}}]}`,
	"NotifyMonitoringReport":            `{"requestId":1,"seqNo":0,"generatedAt":"2026-01-31T12:00:00Z"}`,
	"NotifyReport":                      `{"requestId":1,"seqNo":0,"generatedAt":"2026-01-31T12:00:00Z"}`,
	"PublishFirmwareStatusNotification": `{"status":"Idle"}`,
	"ReportChargingProfiles":            `{"requestId":1,"chargingLimitSource":"EMS","evseId":1,"chargingProfile":[{"id":1,"stackLevel":0,"chargingProfilePurpose":"TxProfile","chargingProfileKind":"Relative","chargingSchedule":[{"id":1,"chargingRateUnit":"W","chargingSchedulePeriod":[{"startPeriod":0,"limit":11000}]}]}]}`,
	"ReservationStatusUpdate":           `{"reservationId":1,"reservationUpdateStatus":"Expired"}`,
	"SecurityEventNotification":         `{"type":"StartupOfTheDevice","timestamp":"2026-01-31T12:00:00Z"}`,
	"SignCertificate":                   `{"csr":"-----BEGIN CERTIFICATE REQUEST-----"}`,
	"StatusNotification":                `{"timestamp":"2026-01-31T12:00:00Z","connectorStatus":"Available","evseId":1,"connectorId":1}`,
	"TransactionEvent":                  `{"eventType":"Started","timestamp":"2026-01-31T12:00:00Z","triggerReason":"CablePluggedIn","seqNo":0,"transactionInfo":{"transactionId":"t1"}}`,
}

var requests21 = func() map[string]string {
	all := maps.Clone(requests201)
	maps.Copy(all, map[string]string{
		"BatterySwap":               `{"eventType":"BatteryIn","requestId":1,"idToken":{"idToken":"04E1","type":"ISO14443"},"batteryData":[{"evseId":1,"serialNumber":"s","soC":50,"soH":99.5}]}`,
		"ClosePeriodicEventStream":  `{"id":1}`,
		"GetCertificateChainStatus": `{"certificateStatusRequests":[{"source":"OCSP","urls":["http://ocsp.example"],"certificateHashData":{"hashAlgorithm":"SHA256","issuerNameHash":"a","issuerKeyHash":"b","serialNumber":"1"}}]}`,
		"NotifyDERAlarm":            `{"controlType":"FreqDroop","timestamp":"2026-01-31T12:00:00Z"}`,
		"NotifyDERStartStop":        `{"controlId":"c1","started":true,"timestamp":"2026-01-31T12:00:00Z"}`,
		"NotifyPriorityCharging":    `{"transactionId":"t1","activated":true}`,
		"NotifySettlement":          `{"pspRef":"p1","status":"Settled","settlementAmount":12.5,"settlementTime":"2026-01-31T12:00:00Z"}`,
		"NotifyWebPaymentStarted":   `{"evseId":1,"timeout":60}`,
		"OpenPeriodicEventStream":   `{"constantStreamData":{"id":1,"variableMonitoringId":2,"params":{}}}`,
		"PullDynamicScheduleUpdate": `{"chargingProfileId":1}`,
		"ReportDERControl":          `{"requestId":1}`,
		"VatNumberValidation":       `{"vatNumber":"NL123456789B01","evseId":1}`,
	})
	return all
}()
