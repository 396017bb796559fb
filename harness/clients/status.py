"""Asks for a server's status, or sends it a ping without asking for its status before, or one from before 1.7, and prints what comes.

status.py HOST PORT PROTOCOL TYPED [ping | legacy]
"""

import json
import socket
import sys

from mcstatus import JavaServer, LegacyServer

host, port, protocol, typed, *ping = sys.argv[1:]

connect = socket.create_connection
# Whatever was typed leads to the host.
socket.create_connection = lambda address, *more, **others: connect((host, address[1]), *more, **others)

if ping == ["legacy"]:
    status = LegacyServer(host, int(port), timeout=20).status(tries=1)
    print(json.dumps({"text": status.motd.to_plain(), "version": status.version.name}))
    sys.exit()

server = JavaServer(typed, int(port), timeout=20)
if ping:
    print(json.dumps({"milliseconds": server.ping(tries=1, version=int(protocol))}))
else:
    status = server.status(tries=1, version=int(protocol))
    print(json.dumps({
        "text": status.motd.to_plain(),
        "version": status.version.name,
        "protocol": status.version.protocol,
        "online": status.players.online,
        "max": status.players.max,
    }))
