# A ledger that is archived, with a base backup; records were deleted in it, the moment before is known, and the server is
# lost.
. "$PROJECT/rust/eds/tests/runbook/site.sh"
eds ops configure-postgres --apply >/dev/null
restart_postgres
eds ops backup >/dev/null 2>&1
sign_record 4
eds ingest chain.ndjson --payloads payloads >/dev/null
eds heads --ledger >heads.json
eds ops dump >/dev/null 2>&1
sql() { psql -XAt "$PRIMARY" -c "$1"; }
MOMENT=$(sql "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
sql "DELETE FROM audit_records WHERE sequence > 2" >/dev/null
segment=$(sql "SELECT pg_walfile_name(pg_switch_wal())")
until [ "$(sql "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver")" = t ]; do sleep 0.1; done
"$SERVERS/postgres" stop "$PWD/primary" immediate
# In the directory of the servers of scripts/servers, so that the restored one is stopped with them.
mkdir restored
[ "$(id -u)" != 0 ] || chown postgres: restored
RESTORED=$PWD/restored/data
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
RESTORED_URL=$(sed "s|:[0-9]*/postgres|:$PORT/postgres|" <<<"$PRIMARY")
FREE_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
