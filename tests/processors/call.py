#!/usr/bin/env python3
"""Calls a charger through Holdfast and prints its answer, in Python's standard library.

    call.py SOCKET CHARGER ACTION [PAYLOAD]

docs/protocol.md explains the frames. A back end keeps the link, and its tokens apart.
"""
import json, socket, struct, sys, uuid

HEADER = struct.Struct(">IBBHQ")  # length of the rest, type, flags, key length, ref
HELLO, CALL, WELCOME, RESULT, ANSWERED = 0x01, 0x05, 0x81, 0x85, 16


def frame(type, ref, key=b"", payload=b""):
    return HEADER.pack(12 + len(key) + len(payload), type, 0, len(key), ref) + key + payload


def read_frame(stream):
    length, type, flags, key_length, ref = HEADER.unpack(stream.read(16))
    return type, flags, stream.read(length - 12)[key_length:]


def main(path, charger, action, payload="{}"):
    link = socket.socket(socket.AF_UNIX)
    link.connect(path)
    stream = link.makefile("rb")
    link.sendall(frame(HELLO, 1, payload=json.dumps({"name": "call.py", "ask_only": True}).encode()))
    type, _, body = read_frame(stream)
    if type != WELCOME:
        sys.exit(body.decode())
    call = json.dumps([2, str(uuid.uuid4()), action, json.loads(payload)]).encode()
    link.sendall(frame(CALL, 1, charger.encode(), struct.pack(">I", 10_000) + call))  # in 10 s
    type, flags, body = read_frame(stream)
    if type != RESULT or not flags & ANSWERED:
        sys.exit(body.decode())
    (milliseconds,) = struct.unpack(">I", body[:4])
    print(f"{body[4:].decode()} after {milliseconds} ms")


main(*sys.argv[1:])
