// One charger's life with npm ocpp-rpc, in strict mode for OCPP 1.6 and 2.0.1:
//
//     node ocpprpc.mjs URL SUBPROTOCOL IDENTITY
//
// Exits with 1 at the first CALLERROR, time-out, disconnection or message that does
// not validate; prints "done" otherwise.
import assert from "node:assert/strict";
import { RPCClient } from "ocpp-rpc";

const [endpoint, subprotocol, identity] = process.argv.slice(2);
const client = new RPCClient({
  endpoint, identity,
  protocols: [subprotocol],
  // Not for 2.1: the schemas that ocpp-rpc 2.2.1 has for it carry other names than it
  // looks for ("Schema 'urn:BootNotification.req' is missing").
  strictMode: ["ocpp1.6", "ocpp2.0.1"],
  reconnect: false,
  callTimeoutMs: 10_000,
});
const fail = (what) => (detail) => {
  console.error(what, detail);
  process.exit(1);
};
let leaving = false;
client.on("strictValidationFailure", fail("does not validate:"));
client.on("badMessage", fail("bad message:"));
client.on("disconnect", (detail) => leaving || fail("disconnected:")(detail));

const now = () => new Date().toISOString();
const fresh = (time) => assert(Math.abs(Date.now() - Date.parse(time)) < 60_000, `current time ${time}`);
const idToken = { idToken: "04A2B3C4", type: "ISO14443" };

async function live16() {
  const boot = await client.call("BootNotification", { chargePointVendor: "vendor", chargePointModel: "model" });
  assert.equal(boot.status, "Accepted");
  fresh(boot.currentTime);
  await client.call("StatusNotification", { connectorId: 1, errorCode: "NoError", status: "Available" });
  fresh((await client.call("Heartbeat", {})).currentTime);
  assert.equal((await client.call("Authorize", { idTag: "04A2B3C4" })).idTagInfo.status, "Accepted");
  const { transactionId, idTagInfo } = await client.call("StartTransaction", {
    connectorId: 1, idTag: "04A2B3C4", meterStart: 100, timestamp: now(),
  });
  assert.equal(idTagInfo.status, "Accepted");
  for (let wh = 101; wh < 104; wh++) {
    await client.call("MeterValues", {
      connectorId: 1, transactionId,
      meterValue: [{ timestamp: now(), sampledValue: [{ value: String(wh), unit: "Wh" }] }],
    });
  }
  await client.call("StopTransaction", { transactionId, meterStop: 104, timestamp: now(), reason: "Local" });
}

async function live2() { // 2.0.1 and 2.1
  const boot = await client.call("BootNotification", {
    reason: "PowerUp", chargingStation: { vendorName: "vendor", model: "model" },
  });
  assert.equal(boot.status, "Accepted");
  fresh(boot.currentTime);
  await client.call("StatusNotification", {
    timestamp: now(), connectorStatus: "Available", evseId: 1, connectorId: 1,
  });
  fresh((await client.call("Heartbeat", {})).currentTime);
  assert.equal((await client.call("Authorize", { idToken })).idTokenInfo.status, "Accepted");
  const meterValue = (value) => [{ timestamp: now(), sampledValue: [{ value }] }];
  const event = (eventType, triggerReason, seqNo, more = {}) => client.call("TransactionEvent", {
    eventType, triggerReason, seqNo, timestamp: now(),
    transactionInfo: { transactionId: "T-1" }, meterValue: meterValue(100 + seqNo), ...more,
  });
  const begun = await event("Started", "Authorized", 0, { idToken, evse: { id: 1, connectorId: 1 } });
  assert.equal(begun.idTokenInfo.status, "Accepted");
  await event("Updated", "MeterValuePeriodic", 1);
  await client.call("MeterValues", { evseId: 1, meterValue: meterValue(102) });
  await event("Ended", "EVDeparted", 2);
}

await client.connect();
assert.equal(client.protocol, subprotocol);
await (subprotocol === "ocpp1.6" ? live16() : live2());
leaving = true;
await client.close({ code: 1000, reason: "done" });
console.log("done");
