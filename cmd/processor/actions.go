package main

import (
	"encoding/json"
	"maps"
	"time"
)

// actions by version and name: every CALL that a charger may start.
var actions = map[version]map[string]action{
	v16:  actions16,
	v201: actions201,
	v21:  actions21,
}

// orders are the remaining actions of all versions: those that go to a charger,
// and what is not sent as a CALL. Coming from one they are known, not supported.
var orders = []string{
	// 1.6 and its security extension
	"CancelReservation", "CertificateSigned", "ChangeAvailability", "ChangeConfiguration",
	"ClearCache", "ClearChargingProfile", "DeleteCertificate", "ExtendedTriggerMessage",
	"GetCompositeSchedule", "GetConfiguration", "GetDiagnostics", "GetInstalledCertificateIds",
	"GetLocalListVersion", "GetLog", "InstallCertificate", "RemoteStartTransaction",
	"RemoteStopTransaction", "ReserveNow", "Reset", "SendLocalList", "SetChargingProfile",
	"SignedUpdateFirmware", "TriggerMessage", "UnlockConnector", "UpdateFirmware",
	// 2.0.1
	"ClearDisplayMessage", "ClearVariableMonitoring", "CostUpdated", "CustomerInformation",
	"GetBaseReport", "GetChargingProfiles", "GetDisplayMessages", "GetMonitoringReport",
	"GetReport", "GetTransactionStatus", "GetVariables", "PublishFirmware",
	"RequestStartTransaction", "RequestStopTransaction", "SetDisplayMessage",
	"SetMonitoringBase", "SetMonitoringLevel", "SetNetworkProfile", "SetVariableMonitoring",
	"SetVariables", "UnpublishFirmware",
	// 2.1
	"AdjustPeriodicEventStream", "AFRRSignal", "ChangeTransactionTariff", "ClearDERControl",
	"ClearTariffs", "GetDERControl", "GetPeriodicEventStream", "GetTariffs",
	"NotifyAllowedEnergyTransfer", "NotifyPeriodicEventStream", "RequestBatterySwap",
	"SetDERControl", "SetDefaultTariff", "UpdateDynamicSchedule", "UsePriorityCharging",
}

// names are all actions of all versions.
var names = func() map[string]bool {
	all := map[string]bool{}
	for _, table := range actions {
		for name := range table {
			all[name] = true
		}
	}
	for _, name := range orders {
		all[name] = true
	}
	return all
}()

// known tells whether some version of OCPP has the action.
func known(name string) bool { return names[name] }

// extended is a table with more actions, or others under their names.
func extended(table, more map[string]action) map[string]action {
	table = maps.Clone(table)
	maps.Copy(table, more)
	return table
}

// Answers that are the same in all versions.

// accepted is what every id token gets: idTagInfo in 1.6, idTokenInfo in 2.x.
var accepted = object{"status": "Accepted"}

// noted answers what only wants to be told.
func noted(*central, request) (object, error) { return object{}, nil }

// status answers with a status alone.
func status(s string) func(*central, request) (object, error) {
	return func(*central, request) (object, error) { return object{"status": s}, nil }
}

func boot(c *central, _ request) (object, error) {
	return object{
		"status":      "Accepted",
		"currentTime": timestamp(c.now()),
		"interval":    int(c.interval / time.Second),
	}, nil
}

func heartbeat(c *central, _ request) (object, error) {
	return object{"currentTime": timestamp(c.now())}, nil
}

// field returns a field of the request as the charger wrote it, nil if it has
// none. Maps, not structs: encoding/json matches the fields of a struct without
// regard to case, OCPP does not.
func (r request) field(name string) json.RawMessage {
	var o map[string]json.RawMessage
	_ = json.Unmarshal(r.fields, &o) // it was checked to be an object
	return o[name]
}

// has tells whether the request has an optional field.
func (r request) has(name string) bool {
	value := r.field(name)
	return value != nil && string(value) != "null"
}
