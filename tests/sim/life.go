package sim

import (
	"fmt"
	"strconv"
	"time"
)

// life is what a charger says, in order: boot once, then cycle for ever.
type life struct {
	boot, cycle []step
}

// step appends the action and payload of one CALL: `"Heartbeat",{}`.
type step func(dst []byte, s *story, now time.Time) []byte

// story is where in its life a charger is.
type story struct {
	life *life
	next int // index into boot, then cycle

	cycles      int   // transactions begun, of which each has its own id in 2.0.1
	transaction int64 // 1.6: the number that the central system gave
	awaiting    bool  // 1.6: the answer to StartTransaction brings it
	event       int   // 2.0.1: seqNo within the transaction
	energy      int64 // Wh
	charger     int
}

// tell appends the next CALL of the story.
func (s *story) tell(dst []byte, id MessageID, now time.Time) []byte {
	var next step
	if s.next < len(s.life.boot) {
		next = s.life.boot[s.next]
	} else {
		next = s.life.cycle[(s.next-len(s.life.boot))%len(s.life.cycle)]
	}
	s.next++
	dst = append(dst, `[2,"`...)
	dst = id.append(dst)
	dst = append(dst, `",`...)
	dst = next(dst, s, now)
	return append(dst, ']')
}

func lifeFor(subprotocol string) (*life, error) {
	switch subprotocol {
	case "ocpp1.6":
		return &life16, nil
	case "ocpp2.0.1", "ocpp2.1":
		return &life201, nil
	}
	return nil, fmt.Errorf("no life known for the subprotocol %q", subprotocol)
}

var life16 = life{
	boot: []step{boot16, available16},
	cycle: []step{
		heartbeat, authorize16, start16, meter16, meter16, heartbeat, meter16, meter16, stop16, available16,
	},
}

var life201 = life{
	boot: []step{boot201, available201},
	cycle: []step{
		heartbeat, authorize201, started201, updated201, updated201, heartbeat, meter201, updated201, ended201, available201,
	},
}

const timeFormat = `2006-01-02T15:04:05.000Z`

func appendTime(dst []byte, now time.Time) []byte {
	return now.UTC().AppendFormat(dst, timeFormat)
}

func heartbeat(dst []byte, _ *story, _ time.Time) []byte {
	return append(dst, `"Heartbeat",{}`...)
}

func boot16(dst []byte, _ *story, _ time.Time) []byte {
	return append(dst, `"BootNotification",{"chargePointVendor":"Holdfast","chargePointModel":"Simulated"}`...)
}

func available16(dst []byte, _ *story, now time.Time) []byte {
	dst = append(dst, `"StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available","timestamp":"`...)
	dst = appendTime(dst, now)
	return append(dst, `"}`...)
}

func authorize16(dst []byte, _ *story, _ time.Time) []byte {
	return append(dst, `"Authorize",{"idTag":"04A2B3C4D5"}`...)
}

func start16(dst []byte, s *story, now time.Time) []byte {
	s.cycles++
	s.awaiting = true
	dst = append(dst, `"StartTransaction",{"connectorId":1,"idTag":"04A2B3C4D5","meterStart":`...)
	dst = strconv.AppendInt(dst, s.energy, 10)
	dst = append(dst, `,"timestamp":"`...)
	dst = appendTime(dst, now)
	return append(dst, `"}`...)
}

func meter16(dst []byte, s *story, now time.Time) []byte {
	s.energy += 183
	dst = append(dst, `"MeterValues",{"connectorId":1,"transactionId":`...)
	dst = strconv.AppendInt(dst, s.transaction, 10)
	dst = append(dst, `,"meterValue":[{"timestamp":"`...)
	dst = appendTime(dst, now)
	dst = append(dst, `","sampledValue":[{"value":"`...)
	dst = strconv.AppendInt(dst, s.energy, 10)
	return append(dst, `","measurand":"Energy.Active.Import.Register","unit":"Wh"}]}]}`...)
}

func stop16(dst []byte, s *story, now time.Time) []byte {
	dst = append(dst, `"StopTransaction",{"transactionId":`...)
	dst = strconv.AppendInt(dst, s.transaction, 10)
	dst = append(dst, `,"idTag":"04A2B3C4D5","meterStop":`...)
	dst = strconv.AppendInt(dst, s.energy, 10)
	dst = append(dst, `,"timestamp":"`...)
	dst = appendTime(dst, now)
	return append(dst, `"}`...)
}

func boot201(dst []byte, _ *story, _ time.Time) []byte {
	return append(dst, `"BootNotification",{"reason":"PowerUp","chargingStation":{"vendorName":"Holdfast","model":"Simulated"}}`...)
}

func available201(dst []byte, _ *story, now time.Time) []byte {
	dst = append(dst, `"StatusNotification",{"timestamp":"`...)
	dst = appendTime(dst, now)
	return append(dst, `","connectorStatus":"Available","evseId":1,"connectorId":1}`...)
}

func authorize201(dst []byte, _ *story, _ time.Time) []byte {
	return append(dst, `"Authorize",{"idToken":{"idToken":"04A2B3C4D5","type":"ISO14443"}}`...)
}

func started201(dst []byte, s *story, now time.Time) []byte {
	s.cycles++
	s.event = 0
	return s.appendEvent(dst, "Started", "CablePluggedIn", now)
}

func updated201(dst []byte, s *story, now time.Time) []byte {
	s.energy += 183
	return s.appendEvent(dst, "Updated", "MeterValuePeriodic", now)
}

func ended201(dst []byte, s *story, now time.Time) []byte {
	return s.appendEvent(dst, "Ended", "EVCommunicationLost", now)
}

func meter201(dst []byte, s *story, now time.Time) []byte {
	s.energy += 183
	dst = append(dst, `"MeterValues",{"evseId":1,`...)
	dst = s.appendMeter(dst, now)
	return append(dst, '}')
}

// appendEvent appends a TransactionEvent, OCPP 2.0.1 part 2 section 1.60.
func (s *story) appendEvent(dst []byte, kind, trigger string, now time.Time) []byte {
	dst = append(dst, `"TransactionEvent",{"eventType":"`...)
	dst = append(dst, kind...)
	dst = append(dst, `","timestamp":"`...)
	dst = appendTime(dst, now)
	dst = append(dst, `","triggerReason":"`...)
	dst = append(dst, trigger...)
	dst = append(dst, `","seqNo":`...)
	dst = strconv.AppendInt(dst, int64(s.event), 10)
	s.event++
	dst = append(dst, `,"transactionInfo":{"transactionId":"T-`...)
	dst = strconv.AppendInt(dst, int64(s.charger), 10)
	dst = append(dst, '-')
	dst = strconv.AppendInt(dst, int64(s.cycles), 10)
	dst = append(dst, `"},"evse":{"id":1,"connectorId":1},"idToken":{"idToken":"04A2B3C4D5","type":"ISO14443"},`...)
	dst = s.appendMeter(dst, now)
	return append(dst, '}')
}

func (s *story) appendMeter(dst []byte, now time.Time) []byte {
	dst = append(dst, `"meterValue":[{"timestamp":"`...)
	dst = appendTime(dst, now)
	dst = append(dst, `","sampledValue":[{"value":`...)
	dst = strconv.AppendInt(dst, s.energy, 10)
	return append(dst, `,"measurand":"Energy.Active.Import.Register","unitOfMeasure":{"unit":"Wh"}}]}]`...)
}
