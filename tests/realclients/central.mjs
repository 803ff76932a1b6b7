// A central system of npm ocpp-rpc, in strict mode for OCPP 1.6 and 2.0.1:
//
//     node central.mjs PORT
//
// Prints "ready" once it listens, and a line for each CALL that it has answered and for
// each answer to its own; exits with 1 at the first message that does not validate.
import { RPCServer } from "ocpp-rpc";

const server = new RPCServer({ protocols: ["ocpp1.6", "ocpp2.0.1"], strictMode: ["ocpp1.6", "ocpp2.0.1"] });
const fail = (what) => (detail) => {
  console.error(what, detail);
  process.exit(1);
};
const accepted = { status: "Accepted" };
let transaction = 0;
const now = () => new Date().toISOString();

server.auth((accept) => accept());
server.on("client", (client) => {
  client.on("strictValidationFailure", fail("does not validate:"));
  client.on("badMessage", fail("bad message:"));
  const old = client.protocol === "ocpp1.6";
  const answers = {
    BootNotification: () => {
      setTimeout(() => call(), 100); // once it has its answer
      return { ...accepted, currentTime: now(), interval: 300 };
    },
    Heartbeat: () => ({ currentTime: now() }),
    StatusNotification: () => ({}),
    MeterValues: () => ({}),
    Authorize: () => (old ? { idTagInfo: accepted } : { idTokenInfo: accepted }),
    StartTransaction: () => ({ transactionId: ++transaction, idTagInfo: accepted }),
    StopTransaction: () => ({ idTagInfo: accepted }),
    TransactionEvent: ({ params }) => (params.idToken ? { idTokenInfo: accepted } : {}),
  };
  for (const [action, answer] of Object.entries(answers)) {
    client.handle(action, (what) => {
      console.log("answers", client.identity, action);
      return answer(what);
    });
  }
  const call = () =>
    client
      .call("DataTransfer", { vendorId: "holdfast" })
      .then((answer) => console.log("answered", client.identity, JSON.stringify(answer)))
      .catch((err) => console.log("answered", client.identity, err.message));
});
await server.listen(Number(process.argv[2]), "127.0.0.1");
console.log("ready");
