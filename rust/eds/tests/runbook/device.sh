# Shared by scenes: a device, and records of it with their payloads.
make_device() {
    local key
    mkdir -p payloads/lift-01
    key=$(eds keygen --device lift-01 | sed -n 's/^public key  //p')
    printf '{"lift-01": {"key": "%s", "scheme": "record"}}\n' "$key" >keys.json
    touch chain.ndjson
}
sign_record() { # SEQUENCE
    local after=()
    [ "$1" = 1 ] || after=(--after chain.ndjson)
    printf 'door event %s\n' "$1" >"payloads/lift-01/$1.bin"
    eds sign-record --key lift-01.seed --device lift-01 --payload "payloads/lift-01/$1.bin" \
        --object-ref "lift-01/$1.bin" "${after[@]}" >next.ndjson
    cat next.ndjson >>chain.ndjson
}
make_chain() { # of three records
    local sequence
    make_device
    for sequence in 1 2 3; do sign_record "$sequence"; done
}
