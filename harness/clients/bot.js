'use strict';

// A bot that joins a server, comes into its world, says something and hears it, and ends; 0 if all of that worked.
//   bot.js HOST PORT VERSION NAME TYPED

const { createBot } = require('mineflayer');
const tell = require('./tell');

const [host, port, version, username, fakeHost] = process.argv.slice(2);
const SAYING = `I am ${username}`;

function fail(event, more) {
    tell(event, more);
    process.exit(1);
}

const bot = createBot({ host, port: Number(port), version, username, fakeHost, auth: 'offline', viewDistance: 'tiny', logErrors: false });
bot._client.on('connect', () => tell('connected'));
bot._client.on('login_plugin_request', ({ messageId, channel }) => tell('asked', { id: messageId, channel }));
bot.once('spawn', () => bot.chat(SAYING));
bot.on('messagestr', (text) => {
    if (text.includes(SAYING)) {
        tell('in', { echo: text });
        bot.removeAllListeners('end');
        bot.on('end', () => process.exit(0));
        bot.quit();
    }
});
bot.on('kicked', (reason) => tell('refused', { reason }));
bot.on('error', (error) => fail('error', { text: String(error.stack) }));
bot.on('end', (reason) => fail('ended', { reason }));
