'use strict';

// A flying-squid server with a flat world, which is on no disk.
//   squid.js VERSION PORT

const { createMCServer } = require('flying-squid');
const defaults = require('flying-squid/config/default-settings.json');
const tell = require('./tell');

const [version, port] = process.argv.slice(2);
const server = createMCServer({
    ...defaults,
    host: '127.0.0.1',
    port: Number(port),
    version,
    'online-mode': false,
    generation: { name: 'superflat', options: {} },
    'view-distance': 2,
    worldFolder: undefined,
    logging: false,
});

server.on('ready', () => tell('ready'));
server.on('newPlayer', (player) => player.on('connected', () => tell('joined', { name: player.username })));
server.on('error', (error) => tell('error', { text: String(error.stack) }));
process.on('unhandledRejection', (error) => {
    tell('error', { text: String(error.stack) });
    process.exit(1);
});
