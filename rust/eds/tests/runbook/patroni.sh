# Two PostgreSQL under Patroni, and a record of a device for each step.
stop_cluster() {
    "$SERVERS/pgbouncer" stop "$PWD/pgbouncer" || true
    "$SERVERS/patroni" stop "$PWD/cluster" || true
    for node in a b; do "$SERVERS/patroni" kill "$PWD/cluster" "$node" || true; done
}
trap stop_cluster EXIT
chmod 755 .
LEADER=$("$SERVERS/patroni" start "$PWD/cluster")
port() { cat "cluster/$1.port"; }
NODE=a
[[ $LEADER == *:$(port a)/* ]] || NODE=b
OTHER=b
[ "$NODE" = a ] || OTHER=a
STANDBY=${LEADER/:$(port "$NODE")/:$(port "$OTHER")}
HOSTS=127.0.0.1:$(port a),127.0.0.1:$(port b)
URL=postgres://edgesentry:edgesentry-secret@$HOSTS/postgres
patronictl() { "$SERVERS/patroni" "$1" "$PWD/cluster"; }
lose_machine() { "$SERVERS/patroni" kill "$PWD/cluster" "$1"; }
start_patroni() { "$SERVERS/patroni" node "$PWD/cluster" "$1"; }
start_pgbouncer() { "$SERVERS/pgbouncer" start "$PWD/pgbouncer" "$1"; }
. "$PROJECT/rust/eds/tests/runbook/device.sh"
make_device
next_record() { sign_record $(($(wc -l <chain.ndjson) + 1)); } # in next.ndjson
export EDS_PAYLOADS=folder:payload-store
