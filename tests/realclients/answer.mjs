// A charger with npm ocpp-rpc that answers what it is asked:
//
//     node answer.mjs URL SUBPROTOCOL IDENTITY
//
// Prints "connected". It knows GetConfiguration, and is silent to Reset; what it does
// not know ocpp-rpc answers by itself. Ends with its input.
import { RPCClient } from "ocpp-rpc";

const [endpoint, subprotocol, identity] = process.argv.slice(2);
const client = new RPCClient({ endpoint, identity, protocols: [subprotocol], strictMode: true, reconnect: false });
client.handle("GetConfiguration", () => ({
  configurationKey: [{ key: "HeartbeatInterval", readonly: false, value: "300" }],
}));
client.handle("Reset", () => new Promise(() => {}));
await client.connect();
console.log("connected");
for await (const _ of process.stdin);
process.exit(0); // closing in good order would wait for the answer to Reset
