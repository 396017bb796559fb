#!/usr/bin/env bash
# minecraft-data (npm), 3.119.0: the list of versions is ahead of the packets, and nothing says so.
#
# Guess: a release in `versions.pc` can be asked for.
# Seen: `versions.pc` has 26.2 (776) and 26.3 (777), and calling the module with either name or number gives null, with no
# error; the newest that has packets is 26.1 (775). The package's own `latest/proto.yml` is 26.1's, too. Who
# compares a table with the list alone learns of a release, and not of what it moved: 26.3 has one packet more in the
# configuration state (Post Effects, 0x0A), so Store Cookie and Transfer are 0x0B and 0x0C there, which the
# package cannot tell yet.
#
# Output seen:
#   listed 26.1=775 26.2=776 26.3=777
#   data   26.1=yes 26.2=null 26.3=null
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts minecraft-data@3.119.0 >/dev/null
found=$(node -e '
const data = require("minecraft-data");
const names = ["26.1", "26.2", "26.3"];
const number = (name) => data.versions.pc.find((one) => one.minecraftVersion === name)?.version;
console.log("listed", names.map((name) => `${name}=${number(name)}`).join(" "));
console.log("data  ", names.map((name) => `${name}=${data(name) === null ? "null" : "yes"}`).join(" "));
')
echo "$found"
[[ $found == "listed 26.1=775 26.2=776 26.3=777
data   26.1=yes 26.2=null 26.3=null" ]]
