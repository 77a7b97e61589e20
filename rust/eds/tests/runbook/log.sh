# A ledger with a transparency log and a checkpoint, a restored copy from before it, and a backup from after it; a record
# that no checkpoint covers yet was edited.
. "$PROJECT/rust/eds/tests/runbook/site.sh"
LOCK=$PWD/lock
mkdir tiles "$LOCK"
cat >>"$EDS_CONFIG" <<TOML

[log]
origin = "log.example/lifts"
key = "$PWD/log.seed"
store = "folder:$PWD/tiles"
lock = "folder:$LOCK"
TOML
LEDGER_URL=$PRIMARY
copy() { # NAME: the ledger as it is now
    psql -XqAt "$(sed 's|/postgres$|/template1|' <<<"$PRIMARY")" -c "CREATE DATABASE $1 TEMPLATE postgres"
}
url() { sed "s|/postgres\$|/$1|" <<<"$PRIMARY"; }
eds checkpoint init >/dev/null 2>&1
copy restored
RESTORED_URL=$(url restored)
eds checkpoint >/dev/null
sign_record 4
sign_record 5
eds ingest chain.ndjson --payloads payloads >/dev/null
copy backup
BACKUP_URL=$(url backup)
psql -Xq "$LEDGER_URL" -c "UPDATE audit_records SET timestamp_ms = timestamp_ms + 1 WHERE sequence = 4"
