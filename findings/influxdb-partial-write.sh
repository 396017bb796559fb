#!/usr/bin/env bash
# InfluxDB 1.6.7~rc0 (Debian package influxdb): what it keeps of a write that it answers with 400.
#
# Guess: a write is taken or refused as a whole, or else "dropped=N" says how many points were not kept.
# Seen: of a write in which some lines cannot be parsed, or do not fit the type of a field, the others are kept.
#   The error then begins with "partial write:" (header X-Influxdb-Error, and "error" of the body). "dropped=N" counts
#   points that do not fit; of lines that cannot be parsed (a tag that is there twice) it is 0, and they are dropped.
#   When none can be parsed, "partial write" is missing. The same point with the same time replaces the one before.
# So whoever counts what came since the last write must neither send all of it again, nor believe "dropped=0".
#
# Needs Debian's apt, curl, and a port of loopback.
set -euo pipefail
version=1.6.7~rc0
folder=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"
exact=$(apt-cache madison influxdb | awk -v v="$version" 'index($3, v) == 1 { print $3; exit }')
[[ -n $exact ]] || { echo "influxdb $version is not in this Debian" >&2; exit 1; }
# apt's own user cannot write here, which is only told.
apt-get download -qq "influxdb=$exact" 2>/dev/null
dpkg -x influxdb_*.deb root
port=18086
cat >influxdb.conf <<CONF
reporting-disabled = true
bind-address = "127.0.0.1:18088"
[meta]
  dir = "$folder/meta"
[data]
  dir = "$folder/data"
  wal-dir = "$folder/wal"
[http]
  bind-address = "127.0.0.1:$port"
  log-enabled = false
CONF
root/usr/bin/influxd -config influxdb.conf >influxd.log 2>&1 &
server=$!
ready=
for _ in $(seq 100); do
    if curl -s -o /dev/null "127.0.0.1:$port/ping"; then ready=yes; break; fi
    sleep 0.2
done
[[ -n $ready ]] || { echo "influxd does not answer" >&2; exit 1; }
query() { curl -s "127.0.0.1:$port/query?db=g" --data-urlencode "q=$1"; }
write() { curl -s -o answer -w '%{http_code} ' "127.0.0.1:$port/write?db=g" --data-binary "$1"; cat answer; }
is() {
    printf '%s\n' "$2"
    [[ $2 == *"$1"* ]] || { printf 'expected: %s\n' "$1" >&2; exit 1; }
}
query 'CREATE DATABASE g' >/dev/null

# A tag twice on one line of three.
is '400 {"error":"partial write: unable to parse' "$(write $'a n=1 1\nb,t=x,t=y n=1 1\nc n=1 1')"
is 'duplicate tags dropped=0"' "$(cat answer)"
is '"name":"a","columns":["time","n"],"values":[["1970-01-01T00:00:00.000000001Z",1]]' "$(query 'SELECT n FROM a')"
is '"name":"c","columns":["time","n"],"values":[["1970-01-01T00:00:00.000000001Z",1]]' "$(query 'SELECT n FROM c')"
is '{"results":[{"statement_id":0}]}' "$(query 'SELECT n FROM b')"

# Another type than the field has.
is '204 ' "$(write 'd n=1i 1')"
is 'already exists as type integer dropped=1"' "$(write $'d n=2 2\na n=2 2')"
is '["1970-01-01T00:00:00.000000002Z",2]' "$(query 'SELECT n FROM a')"

# None that can be parsed.
is '400 {"error":"unable to parse' "$(write 'nonsense')"

# The same point again.
is '204 ' "$(write 'a n=5 2')"
is '"values":[["1970-01-01T00:00:00.000000001Z",1],["1970-01-01T00:00:00.000000002Z",5]]' "$(query 'SELECT n FROM a')"
