# A ledger without a backup.
. "$PROJECT/rust/eds/tests/runbook/site.sh"
RECEIVED=$PWD/received
OPS_KEY=$PWD/ops.seed
printf 'signing_key = "%s"\n' "$OPS_KEY" >>"$EDS_CONFIG"
give_to_postgres() {
    if [ "$(id -u)" = 0 ]; then chown postgres: "$1"; fi
}
