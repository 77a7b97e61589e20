# A PostgreSQL that pgBackRest will back up. pgBackRest finds the server by a Unix socket.
mkdir sockets repository logs
[ "$(id -u)" != 0 ] || chown postgres: sockets repository logs
export POSTGRES_OPTIONS="-c unix_socket_directories=$PWD/sockets"
. "$PROJECT/rust/eds/tests/runbook/site.sh"
PGBACKREST_CONF=$PWD/pgbackrest.conf
cat >"$PGBACKREST_CONF" <<CONF
[global]
repo1-path=$PWD/repository
repo1-retention-full=2
log-path=$PWD/logs
lock-path=$PWD/logs
log-level-console=warn
start-fast=y

[audit]
pg1-path=$PWD/primary/data
pg1-port=$(cat primary/port)
pg1-socket-path=$PWD/sockets
pg1-user=edgesentry
CONF
pgbackrest() { as_postgres env PGPASSWORD="$(cat primary/password)" pgbackrest --config="$PGBACKREST_CONF" --stanza=audit "$@"; }
sql() { psql -XAt "$PRIMARY" -c "$1"; }
# scripts/servers passes it to the server only, and a restored server must allow as many.
sql "ALTER SYSTEM SET max_connections = 200" >/dev/null
# In the directory of the servers of scripts/servers, so that the restored one is stopped with them.
mkdir restored
[ "$(id -u)" != 0 ] || chown postgres: restored
RESTORED=$PWD/restored/data
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
RESTORED_URL=$(sed "s|:[0-9]*/postgres|:$PORT/postgres|" <<<"$PRIMARY")
