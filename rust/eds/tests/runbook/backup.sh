# A ledger that nobody backs up yet.
. "$PROJECT/rust/eds/tests/runbook/site.sh"
RECEIVED=$PWD/received
