// A charger with npm ocpp-rpc that must notice nothing of the gateway's upgrades:
//
//     node upgrade.mjs URL SUBPROTOCOL IDENTITY
//
// Prints "connected"; for each line of its input asks, and prints "answered"; closes
// at the end of the input and prints "done". Exits with 1 at the first event that
// tells of the connection's end, or of another one. It would reconnect by itself, so
// that a short disconnection is no less noticed than a long one.
import { createInterface } from "node:readline";
import { RPCClient } from "ocpp-rpc";

const [endpoint, subprotocol, identity] = process.argv.slice(2);
const client = new RPCClient({
  endpoint, identity,
  protocols: [subprotocol],
  strictMode: true,
  reconnect: true,
  callTimeoutMs: 10_000,
});
const fail = (what) => (detail) => {
  console.error(what, detail);
  process.exit(1);
};
let opened = 0;
let leaving = false;
client.on("open", () => opened++ && fail("opened again:")(opened));
for (const event of ["disconnect", "close", "badMessage", "strictValidationFailure"]) {
  client.on(event, (detail) => leaving || fail(event)(detail));
}

await client.connect();
console.log("connected");
for await (const _ of createInterface({ input: process.stdin })) {
  await client.call("Heartbeat", {});
  console.log("answered");
}
leaving = true;
await client.close({ code: 1000, reason: "done" });
console.log("done");
