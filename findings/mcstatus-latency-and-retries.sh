#!/usr/bin/env bash
# mcstatus (PyPI) 14.2.0: what its figures and errors mean.
# Guesses: status().latency is the time of a ping, as in a server list; a status it cannot read is told as
# such; its ping from before 1.7 is one that clients send.
# Seen:
# - status().latency is the time from the status request to the status; no ping is sent at all. What answers
#   statuses from a cache shows a latency to itself.
# - a status of more than 32,767 characters ends in TimeoutError: the tries of status() share one
#   connection (three handshakes on it), and nobody answers the second. What was wrong is not told.
# - LegacyServer sends FE 01 FA and no plugin message behind it, which no client does.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check mcstatus==14.2.0
cat > ask.py <<'PY'
import json, socket, threading, time
from mcstatus import JavaServer, LegacyServer

def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])

def packet(more):
    text = json.dumps({"version": {"name": "1.20.1", "protocol": 763}, "players": {"max": 20, "online": 0},
                       "description": "up", "more": "m" * more}).encode()
    body = b"\0" + varint(len(text)) + text
    return varint(len(body)) + body

def server(answer, wait, heard):
    listener = socket.create_server(("127.0.0.1", 0))
    def converse(stream):
        asked = b""
        # A handshake and a status request; or the ping from before 1.7.
        while not asked.endswith(b"\x01\0") and not asked.startswith(b"\xfe\x01"):
            asked += stream.recv(4096)
        time.sleep(wait)
        stream.sendall(answer)
        while more := stream.recv(4096):
            asked += more
        heard.append(asked)
    def accept():
        while True:
            threading.Thread(target=converse, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]

heard = []
latency = JavaServer("127.0.0.1", server(packet(0), 0.3, heard)).status().latency
time.sleep(0.2)
print("latency of a status that takes 300 ms:", round(latency), "ms; a ping was sent:", b"\x09\x01" in heard[0])
assert 300 <= latency < 1000 and b"\x09\x01" not in heard[0]

heard = []
try:
    JavaServer("127.0.0.1", server(packet(33_000), 0, heard), timeout=1).status()
    raise SystemExit("a long status was read")
except TimeoutError as error:
    print("a status of 33,000 characters:", repr(error))
time.sleep(0.2)
print("connections:", len(heard), "handshakes on it:", heard[0].count(b"127.0.0.1"))
assert len(heard) == 1 and heard[0].count(b"127.0.0.1") == 3

heard = []
fields = "\0".join(["\u00a71", "127", "1.5", "up", "0", "20"]).encode("utf-16-be")
answer = b"\xff" + (len(fields) // 2).to_bytes(2, "big") + fields
print("before 1.7:", LegacyServer("127.0.0.1", server(answer, 0, heard)).status().motd.to_plain())
time.sleep(0.2)
print("sent:", heard[0].hex())
assert heard[0] == bytes.fromhex("fe01fa")
PY
env/bin/python ask.py
