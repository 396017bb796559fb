#!/usr/bin/env bash
# minecraft-protocol (npm) 1.68.0, and so mineflayer: a client that is told no version.
# Guess: it asks for the status with protocol -1, as tools do that want to know the number.
# Seen: it asks with the number of its own newest version (775 of 26.1), and then logs in with the
# number that the answer has. A router that echoes the asked number has it join with the wrong version.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --ignore-scripts --no-audit --no-fund minecraft-protocol@1.68.0
cat > ask.js <<'JS'
const mc = require('minecraft-protocol');
const seen = [];
const server = mc.createServer({ host: '127.0.0.1', port: 0, 'online-mode': false, version: '1.20.1', keepAlive: false });
server.on('connection', (client) => client.on('set_protocol', (packet) => seen.push([packet.nextState, packet.protocolVersion])));
server.on('listening', () => {
    const port = server.socketServer.address().port;
    const client = mc.createClient({ host: '127.0.0.1', port, username: 'Steve', auth: 'offline' });
    client.on('error', (error) => { console.error(error); process.exit(1); });
    server.on('playerJoin', () => {
        console.log(JSON.stringify(seen));
        process.exit(JSON.stringify(seen) === '[[1,775],[2,763]]' ? 0 : 1);
    });
});
setTimeout(() => { console.error('nobody joined', JSON.stringify(seen)); process.exit(1); }, 30000);
JS
node ask.js
