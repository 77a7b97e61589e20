# An S3 without any bucket, the settings of a service, and three records of a device to send.
trap '"$SERVERS/seaweedfs" stop "$PWD/seaweedfs"' EXIT
export EDS_S3__ENDPOINT EDS_S3__ACCESS_KEY_ID=edgesentry EDS_S3__SECRET_ACCESS_KEY=edgesentry-secret
EDS_S3__ENDPOINT=$("$SERVERS/seaweedfs" start "$PWD/seaweedfs")
export EDS_LEDGER=sqlite:audit.db EDS_PAYLOADS=s3://audit-payloads
key=$(eds keygen --device lift-01 | sed -n 's/^public key  //p')
mkdir -p payloads/lift-01
touch chain.ndjson
for sequence in 1 2 3; do
    printf 'door event %s\n' "$sequence" >"payloads/lift-01/$sequence.bin"
    after=()
    [ "$sequence" = 1 ] || after=(--after chain.ndjson)
    eds sign-record --key lift-01.seed --device lift-01 --payload "payloads/lift-01/$sequence.bin" \
        --object-ref "lift-01/$sequence.bin" "${after[@]}" >next.ndjson
    cat next.ndjson >>chain.ndjson
done
printf '{"lift-01": {"key": "%s", "scheme": "record"}}\n' "$key" >keys.json
