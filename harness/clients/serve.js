'use strict';

// A server that lets everybody in and sends their plugin messages back.
//   serve.js VERSION PORT [online]
// Loading takes its time, so that it listens only when it is told to, with SIGUSR2.
// With `online` it first does all that a server in online mode behind a proxy does, but for asking who the
// player is: it encrypts, and from 1.13 on sends a login plugin request of its own.

const minecraftData = require('minecraft-data');
const { createServer } = require('minecraft-protocol');
const release = require('./release');
const tell = require('./tell');

const LOGIN_PLUGIN_PROTOCOL = 393;
const REQUEST = { messageId: 0, channel: 'velocity:player_info', data: Buffer.from([4]) };
// The tests' own deadline comes first, however busy the machine.
const LOGIN_MILLISECONDS_MAX = 600_000;
// What the library has no example of for the version.
const GAME = { gameMode: 0, levelType: 'default', dimension: 0, difficulty: 0, reducedDebugInfo: false, hashedSeed: [0, 0] };

const [wanted, port, manner] = process.argv.slice(2);
const version = release(wanted);
const online = manner === 'online';
const { loginPacket } = minecraftData(version);

function listen() {
    const server = createServer({
        host: '127.0.0.1',
        port: Number(port),
        version,
        motd: `a server of ${wanted}`,
        'online-mode': online,
        kickTimeout: LOGIN_MILLISECONDS_MAX,
        errorHandler: (client, error) => tell('error', { text: String(error.stack) }),
    });
    server.on('listening', () => tell('ready'));
    server.on('error', (error) => {
        tell('error', { text: String(error.stack) });
        process.exit(1);
    });
    server.on('connection', (client) => greet(client, server.onlineModeExceptions));
    server.on('playerJoin', play);
}

function greet(client, known) {
    // A field of newer releases, which the library does not write.
    const { write } = client;
    client.write = (name, packet) => write.call(client, name, name === 'success' ? { sessionId: client.uuid, ...packet } : packet);
    client.on('set_protocol', ({ serverHost, protocolVersion, nextState }) =>
        tell('handshake', { host: serverHost, protocol: protocolVersion, intent: nextState }));
    // Before the library asks for encryption: from then on there is no knowing when the client begins to decrypt.
    client.prependListener('login_start', () => {
        if (online && client.protocolVersion >= LOGIN_PLUGIN_PROTOCOL) {
            client.write('login_plugin_request', REQUEST);
        }
    });
    client.on('login_plugin_response', ({ messageId }) => tell('answered', { id: messageId }));
    // Before the library looks whom it is to ask Mojang about.
    client.on('encryption_begin', () => {
        known[client.username.toLowerCase()] = true;
    });
    client.on('end', (reason) => tell('left', { reason }));
}

function play(client) {
    tell('joined', { name: client.username, encrypted: Boolean(client.cipher) });
    client.on('custom_payload', (message) => client.write('custom_payload', message));
    client.write('login', { ...GAME, ...loginPacket, entityId: 1, maxPlayers: 20 });
}

process.once('SIGUSR2', listen);
// Waiting for a signal alone does not keep it going.
setInterval(() => {}, LOGIN_MILLISECONDS_MAX);
tell('loaded');
