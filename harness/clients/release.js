'use strict';

// What the scripts are to speak for a release whose packets minecraft-data does not have yet: those of the last one
// that it has, with what the release changed before the game. What it changed in the game is left out, since the same
// is at both ends. Where the data has the release, nothing is changed.

const minecraftData = require('minecraft-data');

const CHANGED = {
    '26.3': { like: '26.1', protocol: 777, change: changes26_3 },
};

// minecraft-data's repository, data/pc/26.3/proto.yml: the session in Login Success, which 26.2 brought, and Post Effects.
function changes26_3({ login, configuration }) {
    login.toClient.types.packet_success[1].push({ name: 'sessionId', type: 'UUID' });
    const types = configuration.toClient.types;
    const { mappings } = types.packet[1][0].type[1];
    const names = Object.values(mappings);
    names.splice(names.indexOf('store_cookie'), 0, 'post_effects');
    names.forEach((name, id) => { mappings[`0x${id.toString(16).padStart(2, '0')}`] = name; });
    types.packet[1][1].type[1].fields.post_effects = 'void';
}

// The name by which the libraries know what `release` speaks.
module.exports = function release(release) {
    const known = minecraftData.supportedVersions.pc.includes(release) && minecraftData(release)?.version;
    const changed = CHANGED[release];
    if (!changed || (known && known.version === changed.protocol)) {
        return release;
    }
    const data = minecraftData(changed.like);
    changed.change(data.protocol);
    data.version.version = changed.protocol;
    minecraftData.versionsByMinecraftVersion.pc[changed.like].version = changed.protocol;
    return changed.like;
};
