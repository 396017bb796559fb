'use strict';

// A client that joins a server, has a plugin message sent back by it, and ends; 0 if all of that worked.
//   join.js HOST PORT VERSION NAME TYPED
// TYPED is the host name that the player typed, HOST and PORT are where it leads to.

const { createClient } = require('minecraft-protocol');
const tell = require('./tell');

const CHANNEL = 'automc:echo';
const [host, port, version, username, fakeHost] = process.argv.slice(2);

function fail(event, more) {
    tell(event, more);
    process.exit(1);
}

const client = createClient({ host, port: Number(port), version, username, fakeHost, auth: 'offline', hideErrors: true });
client.on('connect', () => tell('connected'));
// Answered by the library, from 1.13 on: not understood.
client.on('login_plugin_request', ({ messageId, channel }) => tell('asked', { id: messageId, channel }));
client.on('disconnect', ({ reason }) => tell('refused', { reason }));
client.on('error', (error) => fail('error', { text: String(error.stack) }));
client.on('end', (reason) => fail('ended', { reason }));
client.on('login', () => client.write('custom_payload', { channel: CHANNEL, data: Buffer.from(username) }));
client.on('custom_payload', ({ channel, data }) => {
    if (channel === CHANNEL) {
        tell('in', { echo: data.toString() });
        process.exit(0);
    }
});
