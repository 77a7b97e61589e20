# A ledger that will archive into a bucket that does not exist yet; its payloads are in S3, in a bucket that is set up. A
# second S3 is on standby. Both have given a key to each role of deploy/iam.
export PAYLOADS=s3://audit-payloads POLICIES=$PROJECT/deploy/iam
make_buckets() {
    EDS_S3__ENDPOINT=$S3 EDS_S3__ACCESS_KEY_ID=edgesentry EDS_S3__SECRET_ACCESS_KEY=edgesentry-secret \
        eds ops s3-setup "$PAYLOADS" --retention-days 30 --apply >/dev/null
}
. "$PROJECT/rust/eds/tests/runbook/site.sh"
# The key of the payloads stays; the archive has another.
cat >>"$EDS_CONFIG" <<TOML

[ops.s3]
endpoint = "$S3"
access_key_id = "edgesentry" # the archive
secret_access_key = "edgesentry-secret" # the archive
TOML
use_role() {
    sed -i "s|^\(access_key_id\) = .* # the archive|\1 = \"$1\" # the archive|; s|^\(secret_access_key\) = .* # the archive|\1 = \"$1-secret\" # the archive|" "$EDS_CONFIG"
}
filer() { # prints the name by which filer.sync knows a server's filer
    local port
    port=$(cat "$1/port")
    echo "127.0.0.1:$((port + 3)).$((port + 13))"
}
# With log from before the first backup, which retention would delete.
start_archiving() {
    psql -qXAt "$PRIMARY" -c "ALTER SYSTEM SET archive_mode = 'on'" -c "ALTER SYSTEM SET archive_timeout = '60'" \
        -c "ALTER SYSTEM SET archive_command = '$(command -v eds) ops archive-wal --config $EDS_CONFIG %p %f'"
    restart_postgres
    local segment
    segment=$(psql -qXAt "$PRIMARY" -c "CREATE TABLE filled (n int)" -c "SELECT pg_walfile_name(pg_switch_wal())")
    until [ "$(psql -XAt "$PRIMARY" -c "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver")" = t ]; do sleep 0.2; done
}
S3_2=$("$SERVERS/seaweedfs" start "$PWD/seaweedfs-2")
FILER=$(filer seaweedfs) FILER_2=$(filer seaweedfs-2)
weed() { exec "$WEED" "$@"; } # only in the background: the job is the program itself, which stop_servers ends
trap 'stop_servers; "$SERVERS/seaweedfs" stop "$PWD/seaweedfs-2"' EXIT
mkdir restored
[ "$(id -u)" != 0 ] || chown postgres: restored
RESTORED=$PWD/restored/data
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
RESTORED_URL=$(sed "s|:[0-9]*/postgres|:$PORT/postgres|" <<<"$PRIMARY")
