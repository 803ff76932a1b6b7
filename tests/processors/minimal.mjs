#!/usr/bin/env node
// A whole processor for Holdfast, in plain Node (20 or later).
//
//     minimal.mjs SOCKET [NAME]
//
// It joins every loop of the gateway, answers each OCPP call of each charger, and
// on SIGTERM finishes what it has and leaves. docs/protocol.md explains the frames.
import { connect } from "node:net";

const [socket, name = `minimal.mjs-${process.pid}`] = process.argv.slice(2);

const HELLO = 0x01, ACK = 0x02, DRAIN = 0x08;
const WELCOME = 0x81, OPENED = 0x82, MESSAGE = 0x83, CLOSED = 0x84, DRAINED = 0x87, REFUSED = 0x88;

const answers = new Map(Object.entries({ // by OCPP action; the others are content with {}
  BootNotification: () => ({ status: "Accepted", currentTime: new Date(), interval: 300 }),
  Heartbeat: () => ({ currentTime: new Date() }),
  Authorize: () => ({ idTagInfo: { status: "Accepted" } }),
  StartTransaction: () => ({ transactionId: 1, idTagInfo: { status: "Accepted" } }),
}));

// The reply to a charger's message; empty if it wants none.
function answer(message) {
  try {
    const [kind, id, action] = JSON.parse(message);
    if (kind !== 2 || typeof id !== "string") return ""; // not a CALL
    return JSON.stringify([3, id, answers.get(action)?.() ?? {}]); // a CALLRESULT
  } catch {
    return ""; // not JSON; acknowledged all the same, or it would come again
  }
}

// Length of the rest, type, flags, key length, ref; then key and payload.
function frame(type, ref = 0n, key = "", payload = "") {
  const rest = Buffer.concat([Buffer.from(key), Buffer.from(payload)]);
  const header = Buffer.alloc(16);
  header.writeUInt32BE(12 + rest.length, 0);
  header.writeUInt8(type, 4);
  header.writeUInt16BE(key.length, 6); // a Buffer or "": bytes
  header.writeBigUInt64BE(ref, 8);
  return Buffer.concat([header, rest]);
}

// The frames that arrive on a link, one by one.
async function* frames(link) {
  let bytes = Buffer.alloc(0);
  for await (const chunk of link) {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0)) {
      const end = 4 + bytes.readUInt32BE(0), keyEnd = 16 + bytes.readUInt16BE(6);
      yield {
        type: bytes[4], ref: bytes.readBigUInt64BE(8),
        key: bytes.subarray(16, keyEnd), payload: bytes.subarray(keyEnd, end),
      };
      bytes = bytes.subarray(end);
    }
  }
}

// One link: acknowledges what it delivers, with a reply where there is one.
async function serve(loop) {
  const link = connect(socket);
  link.write(frame(HELLO, 1n, "", JSON.stringify({ name, loop, charger_window: 1 })));
  process.once("SIGTERM", () => link.write(frame(DRAIN)));
  for await (const { type, ref, key, payload } of frames(link)) {
    if (type === WELCOME && loop === 0) { // which says how many loops there are
      for (let other = 1; other < JSON.parse(payload).loops; other++) serve(other);
    }
    if (type === MESSAGE) link.write(frame(ACK, ref, key, answer(payload)));
    if (type === OPENED || type === CLOSED) link.write(frame(ACK, ref, key));
    if (type === REFUSED) throw new Error(payload.toString());
    if (type === DRAINED) return; // which closes the link
  }
  throw new Error("the gateway is gone");
}

await serve(0);
