'use strict';

// A client that joins a server, has a plugin message sent back by it, and ends; 0 if all of that worked. When it is
// transferred, it comes back, wherever it was sent to, with its cookies.
//   join.js HOST PORT VERSION NAME TYPED
// TYPED is the host name that the player typed, HOST and PORT are where it leads to.

const { createClient } = require('minecraft-protocol');
const release = require('./release');
const tell = require('./tell');

const CHANNEL = 'automc:echo';
const [host, port, wanted, username, fakeHost] = process.argv.slice(2);
const version = release(wanted);
const TRANSFER = 3;
const cookies = {};

function fail(event, more) {
    tell(event, more);
    process.exit(1);
}

function join(more) {
    const client = createClient({ host, port: Number(port), version, username, fakeHost, auth: 'offline', hideErrors: true });
    let moved = false;
    if (more.nextState) {
        // The library has no word for it.
        const { write } = client;
        client.write = (name, packet) => write.call(client, name, name === 'set_protocol' ? { ...packet, ...more } : packet);
    }
    client.on('connect', () => tell('connected'));
    // Answered by the library, from 1.13 on: not understood.
    client.on('login_plugin_request', ({ messageId, channel }) => tell('asked', { id: messageId, channel }));
    client.on('disconnect', ({ reason }) => tell('refused', { reason }));
    client.on('store_cookie', ({ key, value }) => { cookies[key] = value; });
    client.on('cookie_request', ({ cookie: key }) => client.write('cookie_response', { key, value: cookies[key] }));
    client.on('transfer', (to) => {
        moved = true;
        tell('transferred', { host: to.host, port: to.port });
        client.end('transferred');
        join({ nextState: TRANSFER, serverHost: to.host, serverPort: to.port });
    });
    client.on('error', (error) => fail('error', { text: String(error.stack) }));
    client.on('end', (reason) => moved || fail('ended', { reason }));
    client.on('login', () => client.write('custom_payload', { channel: CHANNEL, data: Buffer.from(username) }));
    client.on('custom_payload', ({ channel, data }) => {
        if (channel === CHANNEL) {
            tell('in', { echo: data.toString() });
            process.exit(0);
        }
    });
}

join({});
