# A PostgreSQL as providers rent it out: the customer's role is no superuser and may not replicate. A second one is empty.
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
mkdir -p payloads/lift-01
key=$(eds keygen --device lift-01 | sed -n 's/^public key  //p')
printf '{"lift-01": {"key": "%s", "scheme": "record"}}\n' "$key" >keys.json
touch chain.ndjson
for number in 1 2 3; do
    printf 'door event %s\n' "$number" >"payloads/lift-01/$number.bin"
    after=()
    [ "$number" = 1 ] || after=(--after chain.ndjson)
    eds sign-record --key lift-01.seed --device lift-01 --payload "payloads/lift-01/$number.bin" \
        --object-ref "lift-01/$number.bin" "${after[@]}" >next.ndjson
    cat next.ndjson >>chain.ndjson
done
eds ingest chain.ndjson --payloads-from payloads --register keys.json >/dev/null
