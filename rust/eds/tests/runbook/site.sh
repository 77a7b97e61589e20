# Shared by scenes: a PostgreSQL with three records of a device, a directory of payloads, an S3 with a bucket for the archive,
# and the settings of all of them. A scene may keep the payloads elsewhere (PAYLOADS) and define make_buckets.
stop_servers() {
    for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done
    wait
    for name in primary restored; do "$SERVERS/postgres" stop "$PWD/$name" immediate || true; done
    "$SERVERS/seaweedfs" stop "$PWD/seaweedfs"
}
trap stop_servers EXIT
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid postgres --regid postgres --init-groups "$@"; else "$@"; fi
}
restart_postgres() {
    "$SERVERS/postgres" stop "$PWD/primary"
    "$SERVERS/postgres" start "$PWD/primary" >/dev/null
}
. "$PROJECT/rust/eds/tests/runbook/device.sh"
chmod 755 .
PRIMARY=$("$SERVERS/postgres" start "$PWD/primary")
S3=$("$SERVERS/seaweedfs" start "$PWD/seaweedfs")
if declare -F make_buckets >/dev/null; then
    make_buckets
else
    curl -sf -X PUT --aws-sigv4 aws:amz:us-east-1:s3 --user edgesentry:edgesentry-secret "$S3/audit-archive"
fi
export EDS_CONFIG=$PWD/eds.toml
cat >"$EDS_CONFIG" <<TOML
ledger = "$PRIMARY"
payloads = "${PAYLOADS:-folder:$PWD/payload-store}"

[s3]
endpoint = "$S3"
access_key_id = "edgesentry"
secret_access_key = "edgesentry-secret"

[ops]
archive = "s3://audit-archive/db-1"
TOML
make_chain
eds ingest chain.ndjson --payloads payloads --register keys.json >/dev/null
