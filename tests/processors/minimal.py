#!/usr/bin/env python3
"""A whole processor for Holdfast, in Python's standard library (3.11 or later).

    minimal.py SOCKET [NAME]

It joins every loop of the gateway, answers each OCPP call of each charger, and
on SIGTERM finishes what it has and leaves. docs/protocol.md explains the frames.
"""
import asyncio, json, os, signal, struct, sys
from datetime import datetime, timezone

HEADER = struct.Struct(">IBBHQ")  # length of the rest, type, flags, key length, ref
HELLO, ACK, DRAIN = 0x01, 0x02, 0x08
WELCOME, OPENED, MESSAGE, CLOSED, DRAINED, REFUSED = 0x81, 0x82, 0x83, 0x84, 0x87, 0x88


def now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


ANSWERS = {  # by OCPP action; the others are content with {}
    "BootNotification": lambda: {"status": "Accepted", "currentTime": now(), "interval": 300},
    "Heartbeat": lambda: {"currentTime": now()},
    "Authorize": lambda: {"idTagInfo": {"status": "Accepted"}},
    "StartTransaction": lambda: {"transactionId": 1, "idTagInfo": {"status": "Accepted"}},
}


def answer(message):
    """The reply to a charger's message; empty if it wants none."""
    try:
        match json.loads(message):
            case [2, str(id), str(action), _]:  # a CALL wants a CALLRESULT
                return json.dumps([3, id, ANSWERS.get(action, dict)()]).encode()
    except (ValueError, RecursionError):
        pass  # not JSON; acknowledged all the same, or it would come again
    return b""


def frame(type, ref=0, key=b"", payload=b""):
    return HEADER.pack(12 + len(key) + len(payload), type, 0, len(key), ref) + key + payload


async def read_frame(reader):
    length, type, _, key_length, ref = HEADER.unpack(await reader.readexactly(16))
    rest = await reader.readexactly(length - 12)
    return type, ref, rest[:key_length], rest[key_length:]


async def serve(links, socket, name, loop=0):
    """One link: acknowledge what it delivers, with a reply where there is one."""
    reader, writer = await asyncio.open_unix_connection(socket)
    links.append(writer)
    writer.write(frame(HELLO, ref=1, payload=json.dumps({"name": name, "loop": loop, "charger_window": 1}).encode()))
    async with asyncio.TaskGroup() as others:
        while True:
            type, ref, key, payload = await read_frame(reader)
            if type == WELCOME and loop == 0:  # which says how many loops there are
                for other in range(1, json.loads(payload)["loops"]):
                    others.create_task(serve(links, socket, name, other))
            elif type in (OPENED, MESSAGE, CLOSED):
                writer.write(frame(ACK, ref, key, answer(payload) if type == MESSAGE else b""))
            elif type == REFUSED:
                sys.exit(payload.decode())
            elif type == DRAINED:
                return writer.close()


async def main(socket, name=f"minimal.py-{os.getpid()}"):
    links = []
    leave = lambda: [link.write(frame(DRAIN)) for link in links]
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    await serve(links, socket, name)


asyncio.run(main(*sys.argv[1:]))
