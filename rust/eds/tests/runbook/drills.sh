# Drills bring their own servers; those on systems of the site need a cluster and a bucket.
stop_servers() {
    stop_cluster
    "$SERVERS/seaweedfs" stop "$PWD/seaweedfs"
}
trap stop_servers EXIT
. "$PROJECT/rust/eds/tests/runbook/cluster.sh"
S3=$("$SERVERS/seaweedfs" start "$PWD/seaweedfs")
cat >bucket.toml <<TOML
payloads = "s3://staging-payloads"

[s3]
endpoint = "$S3"
access_key_id = "edgesentry"
secret_access_key = "edgesentry-secret"
TOML
eds ops s3-setup s3://staging-payloads --retention-days 1 --apply --config bucket.toml >/dev/null
