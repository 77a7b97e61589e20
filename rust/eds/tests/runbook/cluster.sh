# Shared by scenes and tests: a primary with a synchronous standby, the settings staging.toml that name both, and the
# commands ./stop, ./fence and ./rejoin for the current primary, by DRILL_PRIMARY.
stop_cluster() {
    for name in one two; do "$SERVERS/postgres" stop "$PWD/$name" immediate || true; done
}
chmod 755 .
cat >as_postgres <<'SH'
#!/usr/bin/env bash
if [ "$(id -u)" = 0 ]; then exec setpriv --reuid postgres --regid postgres --init-groups "$@"; else exec "$@"; fi
SH
cat >server_of <<'SH'
#!/usr/bin/env bash
# Prints the directory of the server at HOST:PORT.
dirname "$(grep -lx "${1##*:}" "$PWD"/*/port)"
SH
cat >stop <<'SH'
#!/usr/bin/env bash
"$SERVERS/postgres" stop "$(./server_of "$DRILL_PRIMARY")" immediate
SH
cat >fence <<'SH'
#!/usr/bin/env bash
./as_postgres touch "$(./server_of "$DRILL_PRIMARY")/data/standby.signal"
SH
cat >rejoin <<'SH'
#!/usr/bin/env bash
set -e
dir=$(./server_of "$DRILL_PRIMARY") name=$(basename "$(./server_of "$DRILL_PRIMARY")")
other=postgres://edgesentry:$(sed 's/=/%3D/g' one/password)@$DRILL_STANDBY/postgres
rm -rf "$dir/data"
psql -qX "$other" -c "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active" >/dev/null
./as_postgres pg_basebackup -d "$other" -R -X stream -c fast -C -S "$name" -D "$dir/data"
printf "primary_conninfo = '%s?application_name=%s'\n" "$other" "$name" >>"$dir/data/postgresql.auto.conf"
"$SERVERS/postgres" start "$dir"
psql -qX "$other" -c "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 ($name)'" -c "SELECT pg_reload_conf()"
SH
chmod 755 as_postgres server_of stop fence rejoin
ONE=$("$SERVERS/postgres" start "$PWD/one")
mkdir two
[ "$(id -u)" != 0 ] || chown postgres: two
cp -p one/password two/password
python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' >two/port
DRILL_PRIMARY=127.0.0.1:$(cat two/port) DRILL_STANDBY=127.0.0.1:$(cat one/port) ./rejoin >/dev/null
printf 'ledger = "%s"\n' "${ONE%/postgres},127.0.0.1:$(cat two/port)/postgres" >staging.toml
