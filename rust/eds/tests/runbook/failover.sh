# A primary with a synchronous standby, and a ledger in it; the primary is dead when the page begins.
stop_servers() {
    for name in primary standby1 standby2; do "$SERVERS/postgres" stop "$PWD/$name" immediate || true; done
}
trap stop_servers EXIT
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid postgres --regid postgres --init-groups "$@"; else "$@"; fi
}
# A standby of a running server, as scripts/servers/postgres keeps a cluster.
make_standby() { # NAME URL
    mkdir -p "$1"
    [ "$(id -u)" != 0 ] || chown postgres: "$1"
    as_postgres pg_basebackup -d "$2" -R -X stream -c fast -C -S "$1" -D "$PWD/$1/data"
    printf "primary_conninfo = '%s?application_name=%s'\n" "$2" "$1" >>"$1/data/postgresql.auto.conf"
    cp primary/password "$1/password"
    [ -f "$1/port" ] || python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' >"$1/port"
    "$SERVERS/postgres" start "$PWD/$1"
}
chmod 755 .
PRIMARY=$("$SERVERS/postgres" start "$PWD/primary")
STANDBY=$(make_standby standby1 "$PRIMARY")
psql -qX "$PRIMARY" -c "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (standby1)'" -c "SELECT pg_reload_conf()" >/dev/null
hosts=$(sed 's|.*@\(.*\)/postgres|\1|' <<<"$PRIMARY"),$(sed 's|.*@\(.*\)/postgres|\1|' <<<"$STANDBY")
export EDS_LEDGER=${PRIMARY%@*}@$hosts/postgres EDS_PAYLOADS=folder:payload-store
key=$(eds keygen --device lift-01 | sed -n 's/^public key  //p')
mkdir -p payloads/lift-01
printf 'door closed\n' >payloads/lift-01/1.bin
eds sign-record --key lift-01.seed --device lift-01 --payload payloads/lift-01/1.bin --object-ref lift-01/1.bin >chain.ndjson
printf '{"lift-01": {"key": "%s", "scheme": "record"}}\n' "$key" >keys.json
eds ingest chain.ndjson --payloads payloads --register keys.json >/dev/null
PRIMARY_DATA=$PWD/primary/data
kill -9 "$(head -1 primary/data/postmaster.pid)"
# The system needs a moment to remove it.
until psql -X "$PRIMARY" -c "" 2>&1 | grep -q "Connection refused"; do sleep 0.05; done
