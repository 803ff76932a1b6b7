"""Copies between TLS and standard input and output, with Python's ssl:

    python3 bridge.py HOST PORT CAFILE VERSION [CIPHERS]
"""
import os
import select
import socket
import ssl
import sys

host, port, cafile, version, ciphers = (sys.argv[1:] + [""])[:5]
context = ssl.create_default_context(cafile=cafile)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
if ciphers:
    context.set_ciphers(ciphers)
with context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host) as tls:
    print(tls.version(), tls.cipher()[0], file=sys.stderr, flush=True)
    while True:
        ready = [tls] if tls.pending() else select.select([0, tls], [], [])[0]
        if tls in ready:
            tls.setblocking(False)
            try:
                data = tls.recv(65536)
            except ssl.SSLWantReadError:
                data = None  # it was no data, or a part of a record
            tls.setblocking(True)
            if data == b"":
                break
            if data:
                os.write(1, data)
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                break
            tls.sendall(data)
