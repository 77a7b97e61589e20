# A managed PostgreSQL: the customer's role is not a superuser and may not replicate. A second one is empty.
stop_servers() { for name in managed second; do "$SERVERS/postgres" stop "$PWD/$name" immediate || true; done; }
trap stop_servers EXIT
chmod 755 .
rent() { # NAME
    local url
    url=$("$SERVERS/postgres" start "$PWD/$1")
    psql -qX "$url" -c "CREATE ROLE customer LOGIN PASSWORD 'customer-secret' CREATEDB CREATEROLE" \
        -c "CREATE DATABASE audit OWNER customer"
    sed -E 's#//[^@]*@([^/]*)/.*#//customer:customer-secret@\1/audit#' <<<"$url"
}
MANAGED=$(rent managed)
SECOND=$(rent second)
mkdir archive
export EDS_CONFIG=$PWD/eds.toml
cat >"$EDS_CONFIG" <<TOML
ledger = "$MANAGED"
payloads = "folder:$PWD/payload-store"

[ops]
archive = "folder:$PWD/archive"
TOML
. "$PROJECT/rust/eds/tests/runbook/device.sh"
make_chain
eds ingest chain.ndjson --payloads payloads --register keys.json >/dev/null
