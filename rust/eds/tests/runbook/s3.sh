# An S3 without any bucket, the settings of a service, and three records of a device to send.
trap '"$SERVERS/seaweedfs" stop "$PWD/seaweedfs"' EXIT
export EDS_S3__ENDPOINT EDS_S3__ACCESS_KEY_ID=edgesentry EDS_S3__SECRET_ACCESS_KEY=edgesentry-secret
EDS_S3__ENDPOINT=$("$SERVERS/seaweedfs" start "$PWD/seaweedfs")
export EDS_LEDGER=sqlite:audit.db EDS_PAYLOADS=s3://audit-payloads
. "$PROJECT/rust/eds/tests/runbook/device.sh"
make_chain
