'use strict';

// Asks for a server's status as a client does that is to find out the version, and prints what comes.
//   ping.js HOST PORT TYPED

const { ping } = require('minecraft-protocol');

const [host, port, typed] = process.argv.slice(2);
// Whatever was typed leads to the host.
const connect = (client) => client.setSocket(require('net').connect(Number(port), host));

ping({ host: typed, port: Number(port), connect }).then((status) => {
    const { version, players, description, latency, modinfo } = status;
    // Half a surrogate pair becomes U+FFFD.
    const half = Buffer.from(String(description)).toString();
    console.log(JSON.stringify({
        version: version.name, protocol: version.protocol, online: players.online, description: half,
        latency, mods: modinfo?.length,
    }));
}, (error) => {
    console.error(String(error.stack));
    process.exit(1);
});
