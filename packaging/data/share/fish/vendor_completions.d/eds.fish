# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_eds_global_optspecs
    string join \n json q/quiet v/verbose color= h/help V/version
end

function __fish_eds_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_eds_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_eds_using_subcommand
    set -l cmd (__fish_eds_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c eds -n "__fish_eds_needs_command" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_needs_command" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_needs_command" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_needs_command" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_needs_command" -s V -l version -d 'Print version'
complete -c eds -n "__fish_eds_needs_command" -f -a "verify-chain" -d 'Verify exports or a ledger: always the links; also signatures, payloads, heads and log if you pass the input for them'
complete -c eds -n "__fish_eds_needs_command" -f -a "verify" -d 'Verify exports or a ledger: always the links; also signatures, payloads, heads and log if you pass the input for them'
complete -c eds -n "__fish_eds_needs_command" -f -a "report" -d 'Show a report that eds verify-chain --json wrote, or write it as a page or for a pipeline'
complete -c eds -n "__fish_eds_needs_command" -f -a "explain" -d 'Explain a finding: the check, the usual causes and what to do'
complete -c eds -n "__fish_eds_needs_command" -f -a "heads" -d 'Write the heads of an export or a ledger: the last sequence and hash of each chain'
complete -c eds -n "__fish_eds_needs_command" -f -a "keygen" -d 'Make a new key pair: a seed file for the device, a key-ring entry for the auditor'
complete -c eds -n "__fish_eds_needs_command" -f -a "keys" -d 'Update key rings'
complete -c eds -n "__fish_eds_needs_command" -f -a "inspect-key" -d 'Show the public key of a seed file, or check a public key'
complete -c eds -n "__fish_eds_needs_command" -f -a "sign-record" -d 'Sign a payload as the next record of a chain, and print the record as one line of NDJSON'
complete -c eds -n "__fish_eds_needs_command" -f -a "verify-record" -d 'Verify one record: its signature, its payload, and its link to the previous record'
complete -c eds -n "__fish_eds_needs_command" -f -a "verify-proof" -d 'Verify a proof from the transparency log offline: inclusion of records or a head, absence, or consistency'
complete -c eds -n "__fish_eds_needs_command" -f -a "verify-bundle" -d 'Verify an evidence bundle, offline: records, signatures, heads, and the checkpoint that commits to them'
complete -c eds -n "__fish_eds_needs_command" -f -a "ingest" -d 'Ingest records from files into a ledger: check each, store it with its payload, and report its outcome'
complete -c eds -n "__fish_eds_needs_command" -f -a "export" -d 'Export records of a ledger as JSON, NDJSON, Arrow IPC or Parquet, with a manifest next to the file'
complete -c eds -n "__fish_eds_needs_command" -f -a "device" -d 'Manage the devices of a ledger and their keys'
complete -c eds -n "__fish_eds_needs_command" -f -a "log" -d 'Show the decisions of the ingest service, oldest first: accepted, duplicate, rejected with the reason'
complete -c eds -n "__fish_eds_needs_command" -f -a "checkpoint" -d 'Append the new records of a ledger to its transparency log, and sign a checkpoint'
complete -c eds -n "__fish_eds_needs_command" -f -a "monitor" -d 'Replay every leaf of a transparency log, and compare its checkpoints with those of the witnesses'
complete -c eds -n "__fish_eds_needs_command" -f -a "prove" -d 'Prove inclusion of records or a head, absence of a device, or consistency with an earlier checkpoint'
complete -c eds -n "__fish_eds_needs_command" -f -a "witness" -d 'Cosign checkpoints of other transparency logs, as their witness'
complete -c eds -n "__fish_eds_needs_command" -f -a "erase" -d 'Permanently erase the payload of a record; the record stays, and the transparency log records the erasure'
complete -c eds -n "__fish_eds_needs_command" -f -a "bundle" -d 'Write an evidence bundle: one file with records and the proof that they are in the transparency log'
complete -c eds -n "__fish_eds_needs_command" -f -a "config" -d 'Check the settings'
complete -c eds -n "__fish_eds_needs_command" -f -a "unpack" -d 'Write the payloads in the packs of a directory into files of their own, and remove the packs'
complete -c eds -n "__fish_eds_needs_command" -f -a "serve" -d 'Run the ingest service over HTTP until SIGTERM or Ctrl-C'
complete -c eds -n "__fish_eds_needs_command" -f -a "push" -d 'Send records to a service on the network, from files or from an outbox'
complete -c eds -n "__fish_eds_needs_command" -f -a "rotate" -d 'Rotate the key of a device: write a record that names the new key, signed by the old key, into its outbox'
complete -c eds -n "__fish_eds_needs_command" -f -a "inject" -d 'Attack a running service over the network, and check its response to each attack'
complete -c eds -n "__fish_eds_needs_command" -f -a "token" -d 'Generate an access token: print the token to stdout, and the settings entry with its hash to stderr'
complete -c eds -n "__fish_eds_needs_command" -f -a "update" -d 'Sign and verify updates of devices'
complete -c eds -n "__fish_eds_needs_command" -f -a "completions" -d 'Print the completions of a shell'
complete -c eds -n "__fish_eds_needs_command" -f -a "drill" -d 'Rehearse a failure on temporary servers, and check the outcome'
complete -c eds -n "__fish_eds_needs_command" -f -a "ops" -d 'Back up, restore and verify PostgreSQL ledgers, with an archive in S3 or in a directory'
complete -c eds -n "__fish_eds_needs_command" -f -a "demo" -d 'Run a demo: sign, ingest, export and verify real telemetry, then tamper with copies and show the findings'
complete -c eds -n "__fish_eds_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l column -d 'Column that holds FIELD, if its name differs; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l ignore -d 'Column that is not a field of a record and is left out, because no hash covers it; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l order -d 'Order of the records of a chain: position (their order in the files, for exports) or sequence (their sequence numbers, for tables, whose rows have no order)' -r -f -a "position\t''
sequence\t''"
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l keys -d 'Key ring: check the signatures' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l scheme -d 'Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l payloads -d 'Directory of payloads: verify their hashes' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l heads -d 'Trusted heads, as written by eds heads: detect truncated chains and missing devices' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l start-heads -d 'Start heads: for each chain that does not begin at sequence 1, the head before its first record' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l manifest -d 'Manifest of the export: check its hash and its heads, and use its start heads if you give none. They are claims, and satisfy no --require' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l checkpoint -d 'Checkpoint of the transparency log: the records must be exactly those of the log up to it' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l policy -d 'Policy with the logs, witnesses and quorum that you trust' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l log-layout -d 'Layout of the log, as eds export --log writes it [default: FILE.log beside a single export, if it exists]' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l previous -d 'Checkpoint of the same log that you kept from earlier: the log must continue it' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l max-age -d 'Refuse a checkpoint whose witnesses signed it longer ago, such as 90s, 15m, 24h or 7d' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l timestamps -d 'Time stamp of the checkpoint (RFC 3161, such as FILE.tsr): show before which time it existed; may be repeated' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l tsa-roots -d 'Certificates in PEM: the roots of the time stamping authorities that you trust' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l require -d 'Levels that must be verified in full, with inputs from you: signatures, payloads, heads, log. If one is not, the command exits with 2, or with 1 if there are findings. heads requires both ends of each chain: a trusted head, and a beginning at sequence 1 or after a trusted start head. log requires a policy with a witness quorum' -r -f -a "signatures\t''
payloads\t''
heads\t''
log\t''"
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l html -d 'Also write the report as one self-contained HTML page' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l junit -d 'Also write it as JUnit XML' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l sarif -d 'Also write it as SARIF 2.1.0' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l ledger -d 'A ledger instead of files: sqlite:PATH, a path, or postgres://HOST/DATABASE [without URL: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l payload-store -d 'Read the payloads of the ledger\'s records and verify their hashes: from the configured store, or from ledger, folder:PATH, packs:PATH or s3://BUCKET' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l device -d 'Only the chain of this device; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l progress -d 'Show progress on stderr: auto (if it is a terminal), always, never' -r -f -a "auto\t'If stderr is a terminal'
always\t'Always; as lines if stderr is not a terminal'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l threads -d 'Threads to verify with [default: RAYON_NUM_THREADS, else OMP_NUM_THREADS, else one for each core]' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l max-findings -d 'Findings to keep in the report; all are counted' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l github -d 'Also write annotations of GitHub Actions to stderr'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l registered -d 'Use the keys, heads and start heads that the ledger has registered, if you give none. They are claims, because a writer of the ledger can change them'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand verify" -l column -d 'Column that holds FIELD, if its name differs; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand verify" -l ignore -d 'Column that is not a field of a record and is left out, because no hash covers it; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand verify" -l order -d 'Order of the records of a chain: position (their order in the files, for exports) or sequence (their sequence numbers, for tables, whose rows have no order)' -r -f -a "position\t''
sequence\t''"
complete -c eds -n "__fish_eds_using_subcommand verify" -l keys -d 'Key ring: check the signatures' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l scheme -d 'Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand verify" -l payloads -d 'Directory of payloads: verify their hashes' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l heads -d 'Trusted heads, as written by eds heads: detect truncated chains and missing devices' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l start-heads -d 'Start heads: for each chain that does not begin at sequence 1, the head before its first record' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l manifest -d 'Manifest of the export: check its hash and its heads, and use its start heads if you give none. They are claims, and satisfy no --require' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l checkpoint -d 'Checkpoint of the transparency log: the records must be exactly those of the log up to it' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l policy -d 'Policy with the logs, witnesses and quorum that you trust' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l log-layout -d 'Layout of the log, as eds export --log writes it [default: FILE.log beside a single export, if it exists]' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l previous -d 'Checkpoint of the same log that you kept from earlier: the log must continue it' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l max-age -d 'Refuse a checkpoint whose witnesses signed it longer ago, such as 90s, 15m, 24h or 7d' -r
complete -c eds -n "__fish_eds_using_subcommand verify" -l timestamps -d 'Time stamp of the checkpoint (RFC 3161, such as FILE.tsr): show before which time it existed; may be repeated' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l tsa-roots -d 'Certificates in PEM: the roots of the time stamping authorities that you trust' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l require -d 'Levels that must be verified in full, with inputs from you: signatures, payloads, heads, log. If one is not, the command exits with 2, or with 1 if there are findings. heads requires both ends of each chain: a trusted head, and a beginning at sequence 1 or after a trusted start head. log requires a policy with a witness quorum' -r -f -a "signatures\t''
payloads\t''
heads\t''
log\t''"
complete -c eds -n "__fish_eds_using_subcommand verify" -l html -d 'Also write the report as one self-contained HTML page' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l junit -d 'Also write it as JUnit XML' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l sarif -d 'Also write it as SARIF 2.1.0' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l ledger -d 'A ledger instead of files: sqlite:PATH, a path, or postgres://HOST/DATABASE [without URL: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand verify" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify" -l payload-store -d 'Read the payloads of the ledger\'s records and verify their hashes: from the configured store, or from ledger, folder:PATH, packs:PATH or s3://BUCKET' -r
complete -c eds -n "__fish_eds_using_subcommand verify" -l device -d 'Only the chain of this device; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand verify" -l progress -d 'Show progress on stderr: auto (if it is a terminal), always, never' -r -f -a "auto\t'If stderr is a terminal'
always\t'Always; as lines if stderr is not a terminal'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand verify" -l threads -d 'Threads to verify with [default: RAYON_NUM_THREADS, else OMP_NUM_THREADS, else one for each core]' -r
complete -c eds -n "__fish_eds_using_subcommand verify" -l max-findings -d 'Findings to keep in the report; all are counted' -r
complete -c eds -n "__fish_eds_using_subcommand verify" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand verify" -l github -d 'Also write annotations of GitHub Actions to stderr'
complete -c eds -n "__fish_eds_using_subcommand verify" -l registered -d 'Use the keys, heads and start heads that the ledger has registered, if you give none. They are claims, because a writer of the ledger can change them'
complete -c eds -n "__fish_eds_using_subcommand verify" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand verify" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand verify" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand report" -l html -d 'Also write the report as one self-contained HTML page' -r -F
complete -c eds -n "__fish_eds_using_subcommand report" -l junit -d 'Also write it as JUnit XML' -r -F
complete -c eds -n "__fish_eds_using_subcommand report" -l sarif -d 'Also write it as SARIF 2.1.0' -r -F
complete -c eds -n "__fish_eds_using_subcommand report" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand report" -l github -d 'Also write annotations of GitHub Actions to stderr'
complete -c eds -n "__fish_eds_using_subcommand report" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand report" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand report" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand explain" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand explain" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand explain" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand explain" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand heads" -l column -d 'Column that holds FIELD, if its name differs; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l ignore -d 'Column that is not a field of a record and is left out, because no hash covers it; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -s o -l output -d 'File to write the snapshot to [default: stdout]' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l keys -d 'Key ring: check the signatures too before writing' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l scheme -d 'Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand heads" -l start-heads -d 'Heads after which the chains must begin, for an export that starts mid-chain' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l history -d 'Directory for a dated copy of every state of the snapshot [default: heads.d for heads.json]' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l accept-rewrite -d 'Replace heads that the chains no longer extend, after a restore; the reason goes into the log of the history' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom [default with --ledger: ops.textfile of the settings]' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l ledger -d 'A ledger instead of files: sqlite:PATH, a path, or postgres://HOST/DATABASE [without URL: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l progress -d 'Show progress on stderr: auto (if it is a terminal), always, never' -r -f -a "auto\t'If stderr is a terminal'
always\t'Always; as lines if stderr is not a terminal'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand heads" -l threads -d 'Threads to verify with [default: RAYON_NUM_THREADS, else OMP_NUM_THREADS, else one for each core]' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l max-findings -d 'Findings to keep in the report; all are counted' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand heads" -l force -d 'Write the snapshot even if links or signatures do not hold'
complete -c eds -n "__fish_eds_using_subcommand heads" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand heads" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand heads" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand heads" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand keygen" -l device -d 'The device, for the key-ring entry' -r
complete -c eds -n "__fish_eds_using_subcommand keygen" -s o -l output -d 'The seed file to write [default: ID.seed, or device.seed]' -r -F
complete -c eds -n "__fish_eds_using_subcommand keygen" -l pkcs11 -d 'Make the key in this token, under the label `object`, instead of a seed file' -r
complete -c eds -n "__fish_eds_using_subcommand keygen" -l module -d 'Library of the token, if its PKCS#11 URI has no module-path' -r -F
complete -c eds -n "__fish_eds_using_subcommand keygen" -l pin-file -d 'File with the PIN of the token, if its URI has no pin-source; or set the variable EDS_PKCS11_PIN' -r -F
complete -c eds -n "__fish_eds_using_subcommand keygen" -l scheme -d 'Signature scheme of the device: record, or payload-hash for older devices' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand keygen" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand keygen" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand keygen" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand keygen" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand keygen" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand keys; and not __fish_seen_subcommand_from follow help" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand keys; and not __fish_seen_subcommand_from follow help" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand keys; and not __fish_seen_subcommand_from follow help" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand keys; and not __fish_seen_subcommand_from follow help" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand keys; and not __fish_seen_subcommand_from follow help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand keys; and not __fish_seen_subcommand_from follow help" -f -a "follow" -d 'Add the successor keys that devices have announced in their records, beginning with first keys that you trust'
complete -c eds -n "__fish_eds_using_subcommand keys; and not __fish_seen_subcommand_from follow help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand keys; and __fish_seen_subcommand_from follow" -l keys -d 'Key ring with the first key of each device' -r -F
complete -c eds -n "__fish_eds_using_subcommand keys; and __fish_seen_subcommand_from follow" -l scheme -d 'Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand keys; and __fish_seen_subcommand_from follow" -s o -l output -d 'File to write [default: stdout]' -r -F
complete -c eds -n "__fish_eds_using_subcommand keys; and __fish_seen_subcommand_from follow" -l progress -d 'Show progress on stderr: auto (if it is a terminal), always, never' -r -f -a "auto\t'If stderr is a terminal'
always\t'Always; as lines if stderr is not a terminal'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand keys; and __fish_seen_subcommand_from follow" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand keys; and __fish_seen_subcommand_from follow" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand keys; and __fish_seen_subcommand_from follow" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand keys; and __fish_seen_subcommand_from follow" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand keys; and __fish_seen_subcommand_from follow" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "follow" -d 'Add the successor keys that devices have announced in their records, beginning with first keys that you trust'
complete -c eds -n "__fish_eds_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand inspect-key" -l signer -d 'Program that has the key' -r -F
complete -c eds -n "__fish_eds_using_subcommand inspect-key" -l module -d 'Library of the token, if its PKCS#11 URI has no module-path' -r -F
complete -c eds -n "__fish_eds_using_subcommand inspect-key" -l pin-file -d 'File with the PIN of the token, if its URI has no pin-source; or set the variable EDS_PKCS11_PIN' -r -F
complete -c eds -n "__fish_eds_using_subcommand inspect-key" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand inspect-key" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand inspect-key" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand inspect-key" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand inspect-key" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l key -d 'Key of the device: a seed file, or the PKCS#11 URI of a key in a token' -r -F
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l signer -d 'Program that holds the key of the device, instead of --key' -r -F
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l module -d 'Library of the token, if its PKCS#11 URI has no module-path' -r -F
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l pin-file -d 'File with the PIN of the token, if its URI has no pin-source; or set the variable EDS_PKCS11_PIN' -r -F
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l device -d 'The device' -r
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l payload -d 'The file that the record commits to' -r -F
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l object-ref -d 'Name of the payload, such as its place in a bucket' -r
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l timestamp-ms -d 'Time of the observation, Unix milliseconds [default: now]' -r
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l after -d 'The chain so far: its records (the last one of the device is used), or a heads snapshot [default: none, sequence 1]' -r -F
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l scheme -d 'Signature scheme: record, or payload-hash for older devices' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand sign-record" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand sign-record" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand sign-record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l public-key -d 'The device\'s public key' -r
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l keys -d 'Key ring' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l scheme -d 'Signature scheme of --public-key, or of keys for which the key ring states none: payload-hash or record [default: record for --public-key, payload-hash for --keys]' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l payload -d 'The payload that the record commits to' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l previous -d 'A file with the previous record of its chain' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand verify-record" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand verify-record" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand verify-record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -l policy -d 'Trusted keys of the log and of its witnesses, and the quorum' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -l record -d 'The proof must be of this record, or have it in its run: a file with one record; - is stdin' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -l device -d 'The proof must be about this device' -r
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -l sequence -d 'The record or the head must have this sequence; a run of records must have these, such as 4711-4720' -r
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -l expect -d 'The proof must be of this kind' -r -f -a "record\t''
run\t''
leaf\t''
head\t''
absence\t''
consistency\t''"
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -l previous -d 'The older checkpoint that you kept; the proof must show that the log extends it' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -l min-size -d 'Refuse a proof of a checkpoint with fewer leaves' -r
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -l max-age -d 'Refuse a proof of a checkpoint whose witnesses signed it longer ago, such as 90s, 15m, 24h or 7d' -r
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand verify-proof" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l policy -d 'Policy with the logs, witnesses and quorum that you trust' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l keys -d 'Key ring: the keys of the devices that you trust' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l scheme -d 'Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l previous -d 'Checkpoint of the same log that you kept from earlier: the log must continue it' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l max-age -d 'Refuse a checkpoint whose witnesses signed it longer ago, such as 90s, 15m, 24h or 7d' -r
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l tsa-roots -d 'Certificates in PEM: the roots of the time stamping authorities that you trust. Without them, the time stamps in the bundle are not verified' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l require -d 'Levels that must be verified in full: signatures with --keys, payloads, log with --policy. If one is not, the command exits with 2, or with 1 if there are findings' -r -f -a "signatures\t''
payloads\t''
log\t''"
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l progress -d 'Show progress on stderr: auto (if it is a terminal), always, never' -r -f -a "auto\t'If stderr is a terminal'
always\t'Always; as lines if stderr is not a terminal'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l threads -d 'Threads to verify with [default: RAYON_NUM_THREADS, else OMP_NUM_THREADS, else one for each core]' -r
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l max-findings -d 'Findings to keep in the report; all are counted' -r
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand verify-bundle" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ingest" -l payloads -d 'Directory with the payloads, each at the path of its object reference, or the directory of a payload store' -r -F
complete -c eds -n "__fish_eds_using_subcommand ingest" -l register -d 'Key ring: register its devices and keys first; creates the ledger if it does not exist' -r -F
complete -c eds -n "__fish_eds_using_subcommand ingest" -l scheme -d 'Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand ingest" -l metrics-listen -d 'Serve GET /metrics at this address during the ingest, such as 127.0.0.1:9464 [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand ingest" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand ingest" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ingest" -l payload-store -d 'Payload store: ledger, folder:PATH, packs:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand ingest" -l progress -d 'Show progress on stderr: auto (if it is a terminal), always, never' -r -f -a "auto\t'If stderr is a terminal'
always\t'Always; as lines if stderr is not a terminal'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ingest" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ingest" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ingest" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ingest" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ingest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand export" -s o -l output -d 'File to write; its name determines the format: .json, .ndjson (also .gz, .zst), .arrow, .parquet' -r -F
complete -c eds -n "__fish_eds_using_subcommand export" -l format -d 'Write to stdout, or another stream that --output names, in this format and without a manifest' -r -f -a "json\t''
ndjson\t''
arrow\t''
parquet\t''"
complete -c eds -n "__fish_eds_using_subcommand export" -l device -d 'Only this device; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l from-sequence -d 'The lowest sequence' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l to-sequence -d 'The highest sequence' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l since -d 'Only records from this time on: RFC 3339 or Unix milliseconds' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l before -d 'Only records before this time: RFC 3339 or Unix milliseconds' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand export" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand export" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand export" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand export" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand export" -l progress -d 'Show progress on stderr: auto (if it is a terminal), always, never' -r -f -a "auto\t'If stderr is a terminal'
always\t'Always; as lines if stderr is not a terminal'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand export" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand export" -l int64 -d 'Write numbers in Arrow and Parquet as int64, for engines without unsigned types, such as Spark, Delta and Iceberg'
complete -c eds -n "__fish_eds_using_subcommand export" -l log -d 'Only the records up to the last checkpoint of the transparency log, with the layout of the log in FILE.log and the checkpoint in FILE.checkpoint: for eds verify-chain --checkpoint'
complete -c eds -n "__fish_eds_using_subcommand export" -l stamped -d 'With --log, the records up to the last checkpoint with a time stamp'
complete -c eds -n "__fish_eds_using_subcommand export" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand export" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand export" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "register" -d 'Register a new device with its first key; creates the ledger if it does not exist'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "rotate" -d 'Replace the key of a device, from its next sequence on'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "revoke" -d 'Revoke the keys of a device: its records in the ledger stay valid, further ones are rejected'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "list" -d 'List devices, heads and keys'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "keys" -d 'Write the key ring of the registry'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l public-key -d 'Public key of the device, 64 hex digits' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l scheme -d 'Signature scheme of the device: record, or payload-hash for older devices' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l valid-from -d 'The first sequence that it signs [default: the next of the chain]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l start-head -d 'For a chain that began in another ledger: its last head there, after which this ledger continues' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l public-key -d 'Public key of the device, 64 hex digits' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l scheme -d 'Signature scheme of the device: record, or payload-hash for older devices' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l valid-from -d 'The first sequence that it signs [default: the next of the chain]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l reason -d 'Why: compromised, superseded, retired, lost or unspecified' -r -f -a "unspecified\t''
compromised\t''
superseded\t''
retired\t''
lost\t''"
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -s o -l output -d 'File to write [default: stdout]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "register" -d 'Register a new device with its first key; creates the ledger if it does not exist'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Replace the key of a device, from its next sequence on'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Revoke the keys of a device: its records in the ledger stay valid, further ones are rejected'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "list" -d 'List devices, heads and keys'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "keys" -d 'Write the key ring of the registry'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand log" -l device -d 'Only this device' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l outcome -d 'Only this outcome: accepted, duplicate or rejected' -r -f -a "accepted\t''
duplicate\t''
rejected\t''"
complete -c eds -n "__fish_eds_using_subcommand log" -l reason -d 'Only this reason code, such as fork or sequence_gap' -r -f -a "payload_hash_mismatch\t''
unknown_device\t''
signature_invalid\t''
sequence_gap\t''
sequence_duplicate\t''
prev_hash_mismatch\t''
fork\t''
key_not_valid_at_sequence\t''
succession_invalid\t''
out_of_range\t''
object_conflict\t''
object_ref_invalid\t''
store_refused\t''
log_conflict\t''"
complete -c eds -n "__fish_eds_using_subcommand log" -l after -d 'Only entries after this id' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l since -d 'Only entries from this time on: 2026-01-31T12:00:00Z, or Unix milliseconds' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l limit -d 'Maximum number of entries' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l tail -d 'Show the last N entries instead of the first ones' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand log" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand log" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand log" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand log" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand log" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand log" -s f -l follow -d 'Continue with new entries until Ctrl-C; with --json, one entry a line'
complete -c eds -n "__fish_eds_using_subcommand log" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand log" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand log" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand log" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -f -a "init" -d 'Open the log of a ledger; makes the key of a new log if its file does not exist, and signs nothing yet'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -f -a "run" -d 'Sequence all committed records, store the tiles, sign, and delete the payloads that are to be erased'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -f -a "stamp" -d 'Ask the time stamping authorities of log.tsa for stamps of the last checkpoint, without waiting for log.tsa.interval_seconds'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -f -a "status" -d 'Show the state of the log, and check that it can continue'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -f -a "show" -d 'Write the published checkpoint, a signed note, of a ledger or of a service'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -f -a "request" -d 'Write the request to cosign the last checkpoint, for a witness of the policy that the log cannot reach'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -f -a "cosigned" -d 'Read the cosignature of a checkpoint from a file, and publish the checkpoint if the quorum is complete'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -f -a "withdraw" -d 'Withdraw a batch that is not signed, because the ledger was changed before its records got their positions'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -f -a "recover" -d 'Put the records of the log back into a ledger that was restored to an earlier time'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and not __fish_seen_subcommand_from init run stamp status show request cosigned withdraw recover help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from init" -l heads -d 'Trusted heads, as eds heads writes them; the log is not opened if the ledger disagrees' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from init" -l previous -d 'The last checkpoint of the log of the ledger, which this log succeeds: its first leaf names the checkpoint. Needs --policy, a new log.origin, and new places log.store and log.lock' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from init" -l policy -d 'Trusted keys of the log that this one succeeds, and of its witnesses' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from init" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from init" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from init" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from init" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from init" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from init" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from run" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from run" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from run" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from run" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from run" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from run" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from stamp" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from stamp" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from stamp" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from stamp" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from stamp" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from stamp" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from stamp" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from status" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from status" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from status" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from status" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -l policy -d 'Trusted keys of the log and of its witnesses: the checkpoint is written only if they signed it' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -s o -l output -d 'File to write [default: stdout]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from request" -l old -d 'The size of the last checkpoint that the witness has cosigned, at least that of the ledger [default: as the ledger has it]' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from request" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from request" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from request" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from request" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from request" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from request" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from request" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from cosigned" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from cosigned" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from cosigned" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from cosigned" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from cosigned" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from cosigned" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from cosigned" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from withdraw" -l heads -d 'Trusted heads, as eds heads writes them; the batch stays if the ledger disagrees' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from withdraw" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from withdraw" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from withdraw" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from withdraw" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from withdraw" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from withdraw" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from withdraw" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from recover" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from recover" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from recover" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from recover" -l replace-conflicts -d 'Let the records of the log replace other records that the ledger has accepted since the restore. Those, and all later records of their devices, go to the operation log as evidence: eds log --reason log_conflict'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from recover" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from recover" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from recover" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from help" -f -a "init" -d 'Open the log of a ledger; makes the key of a new log if its file does not exist, and signs nothing yet'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from help" -f -a "run" -d 'Sequence all committed records, store the tiles, sign, and delete the payloads that are to be erased'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from help" -f -a "stamp" -d 'Ask the time stamping authorities of log.tsa for stamps of the last checkpoint, without waiting for log.tsa.interval_seconds'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from help" -f -a "status" -d 'Show the state of the log, and check that it can continue'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from help" -f -a "show" -d 'Write the published checkpoint, a signed note, of a ledger or of a service'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from help" -f -a "request" -d 'Write the request to cosign the last checkpoint, for a witness of the policy that the log cannot reach'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from help" -f -a "cosigned" -d 'Read the cosignature of a checkpoint from a file, and publish the checkpoint if the quorum is complete'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from help" -f -a "withdraw" -d 'Withdraw a batch that is not signed, because the ledger was changed before its records got their positions'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from help" -f -a "recover" -d 'Put the records of the log back into a ledger that was restored to an earlier time'
complete -c eds -n "__fish_eds_using_subcommand checkpoint; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand monitor" -l policy -d 'Trusted keys of the log and of its witnesses with their URLs, and the quorum' -r -F
complete -c eds -n "__fish_eds_using_subcommand monitor" -l state -d 'File with the state, SQLite; created if it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand monitor" -l interval -d 'Time between two rounds, such as 30s, 5m or 1h; longer after failures' -r
complete -c eds -n "__fish_eds_using_subcommand monitor" -l max-age -d 'Report a checkpoint whose witnesses signed it longer ago, such as 15m or 24h' -r
complete -c eds -n "__fish_eds_using_subcommand monitor" -l origin -d 'The name of the log, if the policy has several' -r
complete -c eds -n "__fish_eds_using_subcommand monitor" -l metrics-listen -d 'Serve GET /metrics for Prometheus on this address' -r
complete -c eds -n "__fish_eds_using_subcommand monitor" -l token-file -d 'File with a token for a log that is not public; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand monitor" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand monitor" -l timeout -d 'Seconds that a response may take' -r
complete -c eds -n "__fish_eds_using_subcommand monitor" -l round-time -d 'Time for the replay in a round, such as 10m; the next round continues' -r
complete -c eds -n "__fish_eds_using_subcommand monitor" -l acknowledge -d 'Acknowledge a finding, so that it is no longer reported; the state does not move' -r
complete -c eds -n "__fish_eds_using_subcommand monitor" -l evidence -d 'Write the evidence of the findings into a new directory' -r -F
complete -c eds -n "__fish_eds_using_subcommand monitor" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand monitor" -l log-format -d 'Format of the log on stderr: text, json, off, or auto: text on a terminal, json elsewhere [default: as configured, or auto]' -r -f -a "auto\t''
text\t''
json\t''
off\t''"
complete -c eds -n "__fish_eds_using_subcommand monitor" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand monitor" -l once -d 'Run one round'
complete -c eds -n "__fish_eds_using_subcommand monitor" -l accept-policy -d 'Continue under a policy other than that of the state'
complete -c eds -n "__fish_eds_using_subcommand monitor" -l findings -d 'List the findings of the state, acknowledged ones as well'
complete -c eds -n "__fish_eds_using_subcommand monitor" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand monitor" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand monitor" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand monitor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand prove; and not __fish_seen_subcommand_from record head consistency help" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand prove; and not __fish_seen_subcommand_from record head consistency help" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand prove; and not __fish_seen_subcommand_from record head consistency help" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand prove; and not __fish_seen_subcommand_from record head consistency help" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand prove; and not __fish_seen_subcommand_from record head consistency help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand prove; and not __fish_seen_subcommand_from record head consistency help" -f -a "record" -d 'Prove that the log has a record, or each record of a run'
complete -c eds -n "__fish_eds_using_subcommand prove; and not __fish_seen_subcommand_from record head consistency help" -f -a "head" -d 'Prove the last record of a device in the log, or that the log does not know the device'
complete -c eds -n "__fish_eds_using_subcommand prove; and not __fish_seen_subcommand_from record head consistency help" -f -a "consistency" -d 'Prove that the log has only grown since an older checkpoint'
complete -c eds -n "__fish_eds_using_subcommand prove; and not __fish_seen_subcommand_from record head consistency help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -l size -d 'Prove it at the earlier checkpoint of this size [default: the published one]' -r
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -s o -l output -d 'File to write [default: stdout]' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -l size -d 'Prove it at the earlier checkpoint of this size [default: the published one]' -r
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -s o -l output -d 'File to write [default: stdout]' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from head" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -l size -d 'Prove it at the earlier checkpoint of this size [default: the published one]' -r
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -s o -l output -d 'File to write [default: stdout]' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -l url -d 'A service in place of a ledger: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -l token-file -d 'File with a token of the service; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from consistency" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from help" -f -a "record" -d 'Prove that the log has a record, or each record of a run'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from help" -f -a "head" -d 'Prove the last record of a device in the log, or that the log does not know the device'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from help" -f -a "consistency" -d 'Prove that the log has only grown since an older checkpoint'
complete -c eds -n "__fish_eds_using_subcommand prove; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand witness; and not __fish_seen_subcommand_from init serve cosign status evidence help" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand witness; and not __fish_seen_subcommand_from init serve cosign status evidence help" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand witness; and not __fish_seen_subcommand_from init serve cosign status evidence help" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand witness; and not __fish_seen_subcommand_from init serve cosign status evidence help" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand witness; and not __fish_seen_subcommand_from init serve cosign status evidence help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand witness; and not __fish_seen_subcommand_from init serve cosign status evidence help" -f -a "init" -d 'Make the key and the state of a new witness, and show its verifier key for policies'
complete -c eds -n "__fish_eds_using_subcommand witness; and not __fish_seen_subcommand_from init serve cosign status evidence help" -f -a "serve" -d 'Cosign checkpoints over HTTP until SIGTERM or Ctrl-C (C2SP tlog-witness)'
complete -c eds -n "__fish_eds_using_subcommand witness; and not __fish_seen_subcommand_from init serve cosign status evidence help" -f -a "cosign" -d 'Cosign the checkpoint of a request file, and print the signature line; the same request gives the same line again'
complete -c eds -n "__fish_eds_using_subcommand witness; and not __fish_seen_subcommand_from init serve cosign status evidence help" -f -a "status" -d 'Show the last cosigned checkpoint of each log'
complete -c eds -n "__fish_eds_using_subcommand witness; and not __fish_seen_subcommand_from init serve cosign status evidence help" -f -a "evidence" -d 'Show notes that logs have signed and that contradict their cosigned checkpoints; exit code 1 if a log has two histories'
complete -c eds -n "__fish_eds_using_subcommand witness; and not __fish_seen_subcommand_from init serve cosign status evidence help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from init" -l state -d 'State: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from init" -l key -d 'Seed file of the key that cosigns [default: as configured]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from init" -l name -d 'Name of the key [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from init" -l logs -d 'Logs to cosign: a file with lines `log VKEY`, such as a policy [default: as configured]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from init" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from init" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from init" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from init" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from init" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -l listen -d 'Address to listen on; may be given several times [default: as configured, or 127.0.0.1:8080]' -r
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -l state -d 'State: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -l key -d 'Seed file of the key that cosigns [default: as configured]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -l name -d 'Name of the key [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -l logs -d 'Logs to cosign: a file with lines `log VKEY`, such as a policy [default: as configured]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -l log-format -d 'Format of the log on stderr: text, json, off, or auto: text on a terminal, json elsewhere [default: as configured, or auto]' -r -f -a "auto\t''
text\t''
json\t''
off\t''"
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from cosign" -l state -d 'State: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from cosign" -l key -d 'Seed file of the key that cosigns [default: as configured]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from cosign" -l name -d 'Name of the key [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from cosign" -l logs -d 'Logs to cosign: a file with lines `log VKEY`, such as a policy [default: as configured]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from cosign" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from cosign" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from cosign" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from cosign" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from cosign" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from cosign" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from status" -l state -d 'State: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from status" -l key -d 'Seed file of the key that cosigns [default: as configured]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from status" -l name -d 'Name of the key [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from status" -l logs -d 'Logs to cosign: a file with lines `log VKEY`, such as a policy [default: as configured]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from status" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from status" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from status" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from evidence" -l export -d 'Write the notes and requests as files into this directory' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from evidence" -l state -d 'State: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from evidence" -l key -d 'Seed file of the key that cosigns [default: as configured]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from evidence" -l name -d 'Name of the key [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from evidence" -l logs -d 'Logs to cosign: a file with lines `log VKEY`, such as a policy [default: as configured]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from evidence" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from evidence" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from evidence" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from evidence" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from evidence" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from evidence" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from help" -f -a "init" -d 'Make the key and the state of a new witness, and show its verifier key for policies'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from help" -f -a "serve" -d 'Cosign checkpoints over HTTP until SIGTERM or Ctrl-C (C2SP tlog-witness)'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from help" -f -a "cosign" -d 'Cosign the checkpoint of a request file, and print the signature line; the same request gives the same line again'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from help" -f -a "status" -d 'Show the last cosigned checkpoint of each log'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from help" -f -a "evidence" -d 'Show notes that logs have signed and that contradict their cosigned checkpoints; exit code 1 if a log has two histories'
complete -c eds -n "__fish_eds_using_subcommand witness; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand erase" -l reason -d 'The reason, which every reader of the log sees' -r
complete -c eds -n "__fish_eds_using_subcommand erase" -l replaced -d 'The hash of a record that eds checkpoint recover has replaced: delete its payload, which no record has any more' -r
complete -c eds -n "__fish_eds_using_subcommand erase" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand erase" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand erase" -l payload-store -d 'Payload store: ledger, folder:PATH, packs:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand erase" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand erase" -l again -d 'Delete the payloads of all erasures in the log again, as after a restore of the payload store'
complete -c eds -n "__fish_eds_using_subcommand erase" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand erase" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand erase" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand erase" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand bundle" -s o -l output -d 'File to write; - is stdout' -r -F
complete -c eds -n "__fish_eds_using_subcommand bundle" -l page -d 'Also write a page with a bundle of at most 16 MiB in it: a browser verifies it when the page opens' -r -F
complete -c eds -n "__fish_eds_using_subcommand bundle" -l device -d 'The whole chain of this device; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand bundle" -l record -d 'This record; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand bundle" -l since -d 'A checkpoint that the recipient kept: the bundle also shows that the log continues it' -r -F
complete -c eds -n "__fish_eds_using_subcommand bundle" -l payload-store -d 'Include the payloads, from this store: ledger, folder:PATH, packs:PATH or s3://BUCKET [without STORE: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand bundle" -l keys -d 'Key ring to include as a claim [default: the registered keys]' -r -F
complete -c eds -n "__fish_eds_using_subcommand bundle" -l scheme -d 'Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand bundle" -l policy -d 'Policy to include as a claim' -r -F
complete -c eds -n "__fish_eds_using_subcommand bundle" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand bundle" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand bundle" -l progress -d 'Show progress on stderr: auto (if it is a terminal), always, never' -r -f -a "auto\t'If stderr is a terminal'
always\t'Always; as lines if stderr is not a terminal'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand bundle" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand bundle" -l stamped -d 'With the last checkpoint that has a time stamp, in place of the published one. The time stamps of the checkpoint are included in any case'
complete -c eds -n "__fish_eds_using_subcommand bundle" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand bundle" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand bundle" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand bundle" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand config; and not __fish_seen_subcommand_from check help" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand config; and not __fish_seen_subcommand_from check help" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand config; and not __fish_seen_subcommand_from check help" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand config; and not __fish_seen_subcommand_from check help" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand config; and not __fish_seen_subcommand_from check help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand config; and not __fish_seen_subcommand_from check help" -f -a "check" -d 'Load the settings, open the stores and check that they respond; shows no secrets'
complete -c eds -n "__fish_eds_using_subcommand config; and not __fish_seen_subcommand_from check help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -l payload-store -d 'Payload store: ledger, folder:PATH, packs:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -l create -d 'Create a missing ledger file or payload directory, and index packs of payloads'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Load the settings, open the stores and check that they respond; shows no secrets'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand unpack" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand unpack" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand unpack" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand unpack" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand unpack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand serve" -l listen -d 'Address to listen on; may be given several times [default: as configured, or 127.0.0.1:8080]' -r
complete -c eds -n "__fish_eds_using_subcommand serve" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand serve" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand serve" -l payload-store -d 'Payload store: ledger, folder:PATH, packs:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand serve" -l log-format -d 'Format of the log on stderr: text, json, off, or auto: text on a terminal, json elsewhere [default: as configured, or auto]' -r -f -a "auto\t''
text\t''
json\t''
off\t''"
complete -c eds -n "__fish_eds_using_subcommand serve" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand serve" -l create -d 'Create a missing ledger file or payload directory'
complete -c eds -n "__fish_eds_using_subcommand serve" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand serve" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand serve" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand push" -l payloads -d 'Directory with the payloads, each at the path of its object reference, or the directory of a payload store' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l outbox -d 'A device\'s outbox, instead of files' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l device -d 'The device of the outbox' -r
complete -c eds -n "__fish_eds_using_subcommand push" -l key -d 'Key of the device: a seed file, or the PKCS#11 URI of a key in a token' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l signer -d 'Program that holds the key of the device, instead of --key' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l module -d 'Library of the token, if its PKCS#11 URI has no module-path' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l pin-file -d 'File with the PIN of the token, if its URI has no pin-source; or set the variable EDS_PKCS11_PIN' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l receipts -d 'Keep records in the outbox until their receipts are verified; the outbox stores this setting, and `off` resets it' -r -f -a "required\t'Each record stays in the outbox until its receipt holds'
off\t'A record leaves the outbox when the service has acknowledged it'"
complete -c eds -n "__fish_eds_using_subcommand push" -l policy -d 'Trusted keys of the log and of its witnesses, and the quorum, for the receipts' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l receipt-max-age -d 'Report records that wait longer for their receipts, such as 90s, 15m or 24h [default: 120s]' -r
complete -c eds -n "__fish_eds_using_subcommand push" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: records that wait for receipts' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l url -d 'The service: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand push" -l token-file -d 'File with a token, if the service requires one; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l attempts -d 'Attempts to send a record before giving up' -r
complete -c eds -n "__fish_eds_using_subcommand push" -l timeout -d 'Seconds without progress after which an attempt fails' -r
complete -c eds -n "__fish_eds_using_subcommand push" -l progress -d 'Show progress on stderr: auto (if it is a terminal), always, never' -r -f -a "auto\t'If stderr is a terminal'
always\t'Always; as lines if stderr is not a terminal'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand push" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand push" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand push" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand push" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand push" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand rotate" -l outbox -d 'The outbox of the device' -r -F
complete -c eds -n "__fish_eds_using_subcommand rotate" -l device -d 'The device' -r
complete -c eds -n "__fish_eds_using_subcommand rotate" -l key -d 'Key of the device: a seed file, or the PKCS#11 URI of a key in a token' -r -F
complete -c eds -n "__fish_eds_using_subcommand rotate" -l signer -d 'Program that holds the key of the device, instead of --key' -r -F
complete -c eds -n "__fish_eds_using_subcommand rotate" -l module -d 'Library of the token, if its PKCS#11 URI has no module-path' -r -F
complete -c eds -n "__fish_eds_using_subcommand rotate" -l pin-file -d 'File with the PIN of the token, if its URI has no pin-source; or set the variable EDS_PKCS11_PIN' -r -F
complete -c eds -n "__fish_eds_using_subcommand rotate" -l scheme -d 'Signature scheme of its key: record, or payload-hash for older devices' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand rotate" -l new-key -d 'The new key: a seed file, made if it does not exist, or the PKCS#11 URI of a key in a token' -r -F
complete -c eds -n "__fish_eds_using_subcommand rotate" -l new-signer -d 'Program that has the new key, instead of --new-key' -r -F
complete -c eds -n "__fish_eds_using_subcommand rotate" -l new-scheme -d 'Signature scheme of the new key; never a weaker one' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand rotate" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand rotate" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand rotate" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand rotate" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand inject" -l url -d 'The service: http://HOST:PORT or https://HOST:PORT; may be given several times, for the nodes of one ledger or for separate services' -r
complete -c eds -n "__fish_eds_using_subcommand inject" -l token-file -d 'File with a token, if the service requires one; or set the variable EDS_TOKEN' -r -F
complete -c eds -n "__fish_eds_using_subcommand inject" -l ca -d 'PEM file of the certificate authorities to trust [default: the system\'s]' -r -F
complete -c eds -n "__fish_eds_using_subcommand inject" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand inject" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand inject" -l attempts -d 'Attempts to send a record before giving up' -r
complete -c eds -n "__fish_eds_using_subcommand inject" -l timeout -d 'Seconds without progress after which an attempt fails' -r
complete -c eds -n "__fish_eds_using_subcommand inject" -l attack -d 'Only this attack; may be given several times [default: all]' -r -f -a "bad-signature\t''
no-signature\t''
wrong-key\t''
time-edited\t''
re-sequenced\t''
wrong-device\t''
payload-swapped\t''
payload-forged\t''
unknown-device\t''
sequence-zero\t''
time-overflow\t''
replayed\t''
forked\t''
skipped\t''
re-linked\t''
truncated-body\t''
extra-field\t''
no-json\t''"
complete -c eds -n "__fish_eds_using_subcommand inject" -l count -d 'Number of times that each attack is sent' -r
complete -c eds -n "__fish_eds_using_subcommand inject" -l rate -d 'Maximum number of attacks per second [default: as fast as the service responds]' -r
complete -c eds -n "__fish_eds_using_subcommand inject" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand inject" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand inject" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand inject" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand inject" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand token" -l scope -d 'Scope of the token: ingest, read, admin, metrics; may be given several times' -r -f -a "ingest\t''
read\t''
admin\t''
metrics\t''"
complete -c eds -n "__fish_eds_using_subcommand token" -l device -d 'With the scope ingest: only records of this device; may be given several times' -r
complete -c eds -n "__fish_eds_using_subcommand token" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand token" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand token" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand token" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand token" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand update; and not __fish_seen_subcommand_from sign add-signature verify create-state help" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand update; and not __fish_seen_subcommand_from sign add-signature verify create-state help" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand update; and not __fish_seen_subcommand_from sign add-signature verify create-state help" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand update; and not __fish_seen_subcommand_from sign add-signature verify create-state help" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand update; and not __fish_seen_subcommand_from sign add-signature verify create-state help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand update; and not __fish_seen_subcommand_from sign add-signature verify create-state help" -f -a "sign" -d 'Write the manifest of an image, signed by one or more publishers'
complete -c eds -n "__fish_eds_using_subcommand update; and not __fish_seen_subcommand_from sign add-signature verify create-state help" -f -a "add-signature" -d 'Add signatures of publishers to a manifest'
complete -c eds -n "__fish_eds_using_subcommand update; and not __fish_seen_subcommand_from sign add-signature verify create-state help" -f -a "verify" -d 'Verify a manifest and an image as a device does: publishers, product, expiry, version, size and hash'
complete -c eds -n "__fish_eds_using_subcommand update; and not __fish_seen_subcommand_from sign add-signature verify create-state help" -f -a "create-state" -d 'Create the update state of a new device, which accepts every version'
complete -c eds -n "__fish_eds_using_subcommand update; and not __fish_seen_subcommand_from sign add-signature verify create-state help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -l name -d 'The product; a device accepts only updates of its own' -r
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -l version -d 'The version, a number that grows with each release' -r
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -l minimum-version -d 'The lowest version that devices accept after this one [default: the version]' -r
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -l expires -d 'The time from which devices refuse the manifest: 2027-06-30T00:00:00Z, or Unix milliseconds' -r
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -l key -d 'The key of a publisher, a seed file or a PKCS#11 URI; may be given several times' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -l signer -d 'Program that has the key of a publisher; may be given several times' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -l module -d 'Library of the token, if its PKCS#11 URI has no module-path' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -l pin-file -d 'File with the PIN of the token, if its URI has no pin-source; or set the variable EDS_PKCS11_PIN' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -s o -l output -d 'The manifest to write' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from sign" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from add-signature" -l key -d 'The key of a publisher, a seed file or a PKCS#11 URI; may be given several times' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from add-signature" -l signer -d 'Program that has the key of a publisher; may be given several times' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from add-signature" -l module -d 'Library of the token, if its PKCS#11 URI has no module-path' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from add-signature" -l pin-file -d 'File with the PIN of the token, if its URI has no pin-source; or set the variable EDS_PKCS11_PIN' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from add-signature" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from add-signature" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from add-signature" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from add-signature" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from add-signature" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l trust -d 'The publishers that the device trusts: JSON with name, threshold and keys; - is stdin' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l state -d 'The update state of the device' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l now -d 'The time to compare the expiry with: 2027-06-30T00:00:00Z, or Unix milliseconds [default: now]' -r
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l audit -d 'Write the payload of a record about the outcome, for eds sign-record' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l outbox -d 'Sign a record of the outcome into this outbox of the device; created if it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l device -d 'The device of the outbox' -r
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l key -d 'Key of the device: a seed file, or the PKCS#11 URI of a key in a token' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l signer -d 'Program that holds the key of the device, instead of --key' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l module -d 'Library of the token, if its PKCS#11 URI has no module-path' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l pin-file -d 'File with the PIN of the token, if its URI has no pin-source; or set the variable EDS_PKCS11_PIN' -r -F
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l scheme -d 'Its signature scheme: record, or payload-hash for older devices' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l accept -d 'Remember the update in the state'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from create-state" -l name -d 'The product of the device' -r
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from create-state" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from create-state" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from create-state" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from create-state" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from create-state" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from help" -f -a "sign" -d 'Write the manifest of an image, signed by one or more publishers'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from help" -f -a "add-signature" -d 'Add signatures of publishers to a manifest'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Verify a manifest and an image as a device does: publishers, product, expiry, version, size and hash'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from help" -f -a "create-state" -d 'Create the update state of a new device, which accepts every version'
complete -c eds -n "__fish_eds_using_subcommand update; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand completions" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand completions" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand completions" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand completions" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "list" -d 'List the drills, with their pass criteria and whether their programs are installed'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "all" -d 'Run every drill on temporary servers, one after the other; a failed drill does not stop the others'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "db-failover" -d 'Kill the primary under load, fence it, promote its standby: no acknowledged record may be lost'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "db-restore" -d 'Back up, archive, destroy records, and restore to the moment before: every chain must verify'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "rpo" -d 'Lose the primary with its disk between two archived segments, and measure the loss without and with the WAL receiver'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "s3-object-recovery" -d 'Delete and overwrite payloads in S3, and bring them back byte-identical from their versions'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "alert-fire" -d 'Attack a service and make its store fail; every alert must reach a webhook within 2 minutes'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "report" -d 'Summarize the drills of a quarter from the reports in a directory: Markdown on stdout, or files'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "verify-report" -d 'Verify that the report of a drill is signed with a key and unchanged'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from list" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from list" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l postgres-bin -d 'Directory of the programs of PostgreSQL [default: the newest ones in the usual directories]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l weed -d 'The program weed of SeaweedFS [default: that of the variable WEED, of PATH, or of .venv]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l report-dir -d 'Directory for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; created if it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l sign-key -d 'Key that signs the report, as NAME.json.sig: a seed file, a PKCS#11 URI, or exec:KEY PROGRAM' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l keep-days -d 'Retention of the report in days; eds drill report --remove-expired removes it afterwards' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: receives the times of the last run and the last pass' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l short -d 'Few records, a short load, one alert; does not count for alerts and quarterly reports'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l records -d 'Records in the ledger before the load begins' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l load -d 'Records that are sent before the crash and after each step' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l cluster -d 'Settings of an existing primary and standby, such as those of a staging site; the ledger names both hosts, with a role that may create databases' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l stop-command -d 'Stops the primary of --cluster as a crash would; run by sh, with DRILL_PRIMARY and DRILL_STANDBY as host:port' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l fence-command -d 'Prevents the stopped primary from accepting writes when it comes back' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l promote-command -d 'Promotes the standby [default: pg_promote, by SQL]' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l rejoin-command -d 'Lets the old primary come back as a standby of the new one, with pg_rewind or as a new copy' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l start-command -d 'Starts the primary unchanged, if it cannot be fenced' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l postgres-bin -d 'Directory of the programs of PostgreSQL [default: the newest ones in the usual directories]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l report-dir -d 'Directory for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; created if it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l sign-key -d 'Key that signs the report, as NAME.json.sig: a seed file, a PKCS#11 URI, or exec:KEY PROGRAM' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l keep-days -d 'Retention of the report in days; eds drill report --remove-expired removes it afterwards' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: receives the times of the last run and the last pass' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l asynchronous -d 'Use an asynchronous standby that lags by a second: records are lost, and the drill fails'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l yes -d 'Do not ask for confirmation before touching your own systems'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l records -d 'Records before the moment of the restore' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l archive -d 'Restore the archive that these settings name' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l back -d 'Seconds before now to restore to' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l heads -d 'Snapshot of that time, as written by eds heads' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l keys -d 'Key ring [default: the keys that the ledger itself has registered]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l start-heads -d 'Start heads: for each chain that does not begin at sequence 1, the head before its first record, as written by eds heads' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l scheme -d 'Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l postgres-bin -d 'Directory of the programs of PostgreSQL [default: the newest ones in the usual directories]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l weed -d 'The program weed of SeaweedFS [default: that of the variable WEED, of PATH, or of .venv]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l report-dir -d 'Directory for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; created if it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l sign-key -d 'Key that signs the report, as NAME.json.sig: a seed file, a PKCS#11 URI, or exec:KEY PROGRAM' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l keep-days -d 'Retention of the report in days; eds drill report --remove-expired removes it afterwards' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: receives the times of the last run and the last pass' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l commit -d 'First commit a transaction without changes on the server of the archive, so that recovery stops at the moment even on an idle server; without it the archive is restored to its end if no transaction was committed since'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l yes -d 'Do not ask for confirmation before touching your own systems'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l seconds -d 'Seconds of load before the crash' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l archive-timeout -d 'archive_timeout of the primary, in seconds' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l postgres-bin -d 'Directory of the programs of PostgreSQL [default: the newest ones in the usual directories]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l weed -d 'The program weed of SeaweedFS [default: that of the variable WEED, of PATH, or of .venv]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l report-dir -d 'Directory for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; created if it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l sign-key -d 'Key that signs the report, as NAME.json.sig: a seed file, a PKCS#11 URI, or exec:KEY PROGRAM' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l keep-days -d 'Retention of the report in days; eds drill report --remove-expired removes it afterwards' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: receives the times of the last run and the last pass' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l records -d 'Records whose payloads are stored' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l bucket -d 'Settings of an existing bucket of payloads' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l weed -d 'The program weed of SeaweedFS [default: that of the variable WEED, of PATH, or of .venv]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l report-dir -d 'Directory for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; created if it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l sign-key -d 'Key that signs the report, as NAME.json.sig: a seed file, a PKCS#11 URI, or exec:KEY PROGRAM' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l keep-days -d 'Retention of the report in days; eds drill report --remove-expired removes it afterwards' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: receives the times of the last run and the last pass' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l yes -d 'Do not ask for confirmation before touching your own systems'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l alert -d 'Only this alert; may be given more than once [default: SignatureFailureSeen, SignatureFailureSurge, ChainBreak, IngestStorageError, HighRejectionRate, in this order]' -r -f -a "SignatureFailureSeen\t''
SignatureFailureSurge\t''
ChainBreak\t''
IngestStorageError\t''
HighRejectionRate\t''"
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l within -d 'Seconds within which each alert must arrive' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l scrape-interval -d 'Seconds between scrapes and evaluations of the drill\'s Prometheus' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l rules -d 'Rules for the drill\'s Prometheus instead of the shipped ones' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l prometheus -d 'An existing Prometheus' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l alertmanager -d 'An existing Alertmanager that receives the alerts of this Prometheus' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l listen -d 'Address at which the drill\'s service serves metrics to an existing Prometheus' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l webhook -d 'Address at which the drill listens for a webhook of an existing Alertmanager [default: ask Alertmanager, without checking the delivery]' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l report-dir -d 'Directory for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; created if it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l sign-key -d 'Key that signs the report, as NAME.json.sig: a seed file, a PKCS#11 URI, or exec:KEY PROGRAM' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l keep-days -d 'Retention of the report in days; eds drill report --remove-expired removes it afterwards' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: receives the times of the last run and the last pass' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l quarter -d 'The quarter [default: the current one]' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l public-key -d 'Public key: only reports that are signed with it count, and one whose signature is not valid fails the quarter' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l markdown -d 'File for the report in Markdown' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l html -d 'File for the report as an HTML page' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l last-quarter -d 'The previous quarter'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l remove-expired -d 'Remove the reports in the directory whose retention (--keep-days) has ended'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from verify-report" -l public-key -d 'The public key of operations' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from verify-report" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from verify-report" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from verify-report" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from verify-report" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from verify-report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the drills, with their pass criteria and whether their programs are installed'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "all" -d 'Run every drill on temporary servers, one after the other; a failed drill does not stop the others'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "db-failover" -d 'Kill the primary under load, fence it, promote its standby: no acknowledged record may be lost'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "db-restore" -d 'Back up, archive, destroy records, and restore to the moment before: every chain must verify'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "rpo" -d 'Lose the primary with its disk between two archived segments, and measure the loss without and with the WAL receiver'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "s3-object-recovery" -d 'Delete and overwrite payloads in S3, and bring them back byte-identical from their versions'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "alert-fire" -d 'Attack a service and make its store fail; every alert must reach a webhook within 2 minutes'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "report" -d 'Summarize the drills of a quarter from the reports in a directory: Markdown on stdout, or files'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "verify-report" -d 'Verify that the report of a drill is signed with a key and unchanged'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "backup" -d 'Take a base backup: pg_basebackup, extraction, pg_verifybackup, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "verify-backup" -d 'Download a backup, compare its hashes, and verify it with pg_verifybackup'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "backups" -d 'List backups and dumps with age, size, and the times that they can be restored to'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "dump" -d 'Take a logical dump: pg_dump -Fc, checked by pg_restore --list, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "retention" -d 'Delete old backups, dumps and write-ahead log; without --apply only list them with the reasons'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "archive-wal" -d 'Archive a file of the write-ahead log: archive_command = \'eds ops archive-wal --config FILE %p %f\''
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "fetch-wal" -d 'Fetch a file of the write-ahead log: restore_command = \'eds ops fetch-wal --config FILE %f %p\''
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "fetch-ahead" -d 'Fetch write-ahead log ahead of replay: run by eds ops restore, as the user whom PostgreSQL runs as'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "receive-wal" -d 'Stream the write-ahead log into the archive as it is written, so that a crash loses less than with archive_timeout alone'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "check-archive" -d 'Look for gaps in the archived write-ahead log, from each backup to the newest segment'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "configure-postgres" -d 'Compare the settings of PostgreSQL with those that archiving needs; print the SQL, and change them only with --apply'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "restore" -d 'Restore a backup and the write-ahead log after it into an empty directory, and start the server on loopback'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "restore-dump" -d 'Restore a logical dump into an empty database: pg_restore, in one transaction'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "adopt" -d 'Allow a restored copy to archive its write-ahead log: into a new archive, or into the archive of the original server, which can then no longer archive'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "sign-archive" -d 'Sign archive.json and adopted.json, which name the owner of the archive: for an archive from before they were signed, or after a key was replaced'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "verify-recovery" -d 'Run the checklist after a restore: each item passes, fails or is unknown, with evidence'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "s3-setup" -d 'Set up the bucket of payloads, or of the archive: versions, Object Lock COMPLIANCE, lifecycle, replication; without --apply only show the steps'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "s3-check" -d 'Check the protection of the bucket of payloads, or of the archive, by trying to break it'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "restore-object" -d 'Restore payloads that were deleted or overwritten, byte-identical: in S3 from their versions, in a directory from a copy of it'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "watch-postgres" -d 'Write metrics of PostgreSQL\'s slots, standbys and write-ahead log for Prometheus'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "note-unit" -d 'Write the outcome of a systemd unit or a cron job for Prometheus; for OnFailure= and OnSuccess='
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backup" -l if-log-exceeds -d 'Take it only if more write-ahead log than this was written since the newest backup, in MiB' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backup" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backup" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backup" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backup" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backup" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -l dump -d 'Verify a dump instead of a base backup'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -l allow-unsigned -d 'Accept unsigned files although the settings name a key, for archives from before signing'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backups" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backups" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backups" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backups" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backups" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backups" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from dump" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from dump" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from dump" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from dump" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from dump" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -l backups -d 'Days that base backups are kept' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -l dumps -d 'Days that dumps are kept' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -l apply -d 'Delete the listed files'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from archive-wal" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from archive-wal" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from archive-wal" -l check -d 'Archive nothing; check that the archive can be reached and written to, with an object trial.json'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from archive-wal" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from archive-wal" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from archive-wal" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from archive-wal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -l prefetch -d 'Segments that are prefetched concurrently' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -l allow-unsigned -d 'Accept unsigned files although the settings name a key, for archives from before signing'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -l timeline -d 'The timeline that is followed' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -l allow-unsigned -d 'Accept unsigned files although the settings name a key, for archives from before signing'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -l folder -d 'Directory for the incomplete segment; keep it over restarts' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -l slot -d 'Replication slot, created if it does not exist' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -l interval -d 'Seconds between uploads of the incomplete segment, if it has grown' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -l contents -d 'Download the log and read all of it'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -l allow-unsigned -d 'Accept unsigned files although the settings name a key, for archives from before signing'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l archive-timeout -d 'Seconds after which an incomplete segment is archived [default: the current setting, at most 60]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l standby -d 'application_name of a synchronous standby; may be repeated. A commit then waits for the first connected one, so set it only after a standby is connected [default: the current setting]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l apply -d 'Change the settings that differ: ALTER SYSTEM and a reload'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l no-standby -d 'Let commits wait for no standby; with --weaken-durability'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l weaken-durability -d 'Let commits wait for fewer standbys than now'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l replace-archiver -d 'Replace the archive_command or archive_library of another archiver'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l data -d 'Data directory: empty or missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l port -d 'Port on loopback' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l target-time -d 'The last commit at or before this moment: RFC 3339 with its zone [default: the end of the archive]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l target-name -d 'A restore point that was named with pg_create_restore_point; the last one of that name' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l backup -d 'Backup to start from [default: the last one before the target]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l timeline -d 'Timeline to follow [default: the current one of the archive, or for an earlier target time the one of that time]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l patience -d 'Minutes that recovery may take' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l drill -d 'A temporary copy: archive_mode=off, permanently'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l accept-loss -d 'Restore to the end of the archive although segments are missing, and lose all records after the gap'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l allow-unsigned -d 'Accept unsigned files although the settings name a key, for archives from before signing'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -l into -d 'Database to restore into' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -l dump -d 'Dump [default: the newest one]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -l allow-unsigned -d 'Accept unsigned files although the settings name a key, for archives from before signing'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -l data -d 'Data directory of the copy, as given to eds ops restore' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -l take-over -d 'Take over the archive of the original, which has stopped permanently'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from sign-archive" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from sign-archive" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from sign-archive" -l apply -d 'Sign the files'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from sign-archive" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from sign-archive" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from sign-archive" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from sign-archive" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l heads -d 'Snapshot from before the incident, as written by eds heads' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l keys -d 'Key ring [default: the keys that the ledger itself has registered]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l start-heads -d 'Start heads: for each chain that does not begin at sequence 1, the head before its first record, as written by eds heads' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l scheme -d 'Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]' -r -f -a "record\t''
payload-hash\t''"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l target-time -d 'Time of the restore: RFC 3339 with its zone' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l alertmanager -d 'Alertmanager to ask for silences that are to be lifted, by amtool' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l payload-store -d 'Payload store: ledger, folder:PATH, packs:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l progress -d 'Show progress on stderr: auto (if it is a terminal), always, never' -r -f -a "auto\t'If stderr is a terminal'
always\t'Always; as lines if stderr is not a terminal'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l retention-days -d 'Days during which no account can delete a new version' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l replicate-to -d 'ARN of a bucket to which the store replicates' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l replication-role -d 'ARN of the role that copies' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l policies -d 'Directory for least-privilege policy documents, one for each role: ROLE.json' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l archive -d 'The bucket holds the archive: its lifecycle deletes versions that were deleted or replaced, and it has other roles'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l lock-existing -d 'Check all payloads that were stored before, and with --apply lock those that can be deleted'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l apply -d 'Apply the changes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -l retention-days -d 'Minimum default retention' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -l archive -d 'The bucket holds the archive: its lifecycle deletes versions that were deleted or replaced, and it has other roles'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l devices -d 'File with the names of devices, one a line' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l from -d 'The lowest sequence' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l to -d 'The highest sequence' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l backup -d 'A copy of the payload directory, with files, packs or both, if the payloads are in one' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l payload-store -d 'Payload store: ledger, folder:PATH, packs:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l all -d 'Payloads of every device in the ledger'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l apply -d 'Restore the payloads'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from watch-postgres" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom [default: ops.textfile of the settings]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from watch-postgres" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from watch-postgres" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from watch-postgres" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from watch-postgres" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from watch-postgres" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from watch-postgres" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom [default: ops.textfile of the settings]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -l failed -d 'The last run failed; without this option it succeeded'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "backup" -d 'Take a base backup: pg_basebackup, extraction, pg_verifybackup, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "verify-backup" -d 'Download a backup, compare its hashes, and verify it with pg_verifybackup'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "backups" -d 'List backups and dumps with age, size, and the times that they can be restored to'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "dump" -d 'Take a logical dump: pg_dump -Fc, checked by pg_restore --list, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "retention" -d 'Delete old backups, dumps and write-ahead log; without --apply only list them with the reasons'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "archive-wal" -d 'Archive a file of the write-ahead log: archive_command = \'eds ops archive-wal --config FILE %p %f\''
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "fetch-wal" -d 'Fetch a file of the write-ahead log: restore_command = \'eds ops fetch-wal --config FILE %f %p\''
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "fetch-ahead" -d 'Fetch write-ahead log ahead of replay: run by eds ops restore, as the user whom PostgreSQL runs as'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "receive-wal" -d 'Stream the write-ahead log into the archive as it is written, so that a crash loses less than with archive_timeout alone'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "check-archive" -d 'Look for gaps in the archived write-ahead log, from each backup to the newest segment'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "configure-postgres" -d 'Compare the settings of PostgreSQL with those that archiving needs; print the SQL, and change them only with --apply'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "restore" -d 'Restore a backup and the write-ahead log after it into an empty directory, and start the server on loopback'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "restore-dump" -d 'Restore a logical dump into an empty database: pg_restore, in one transaction'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "adopt" -d 'Allow a restored copy to archive its write-ahead log: into a new archive, or into the archive of the original server, which can then no longer archive'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "sign-archive" -d 'Sign archive.json and adopted.json, which name the owner of the archive: for an archive from before they were signed, or after a key was replaced'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "verify-recovery" -d 'Run the checklist after a restore: each item passes, fails or is unknown, with evidence'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "s3-setup" -d 'Set up the bucket of payloads, or of the archive: versions, Object Lock COMPLIANCE, lifecycle, replication; without --apply only show the steps'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "s3-check" -d 'Check the protection of the bucket of payloads, or of the archive, by trying to break it'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "restore-object" -d 'Restore payloads that were deleted or overwritten, byte-identical: in S3 from their versions, in a directory from a copy of it'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "watch-postgres" -d 'Write metrics of PostgreSQL\'s slots, standbys and write-ahead log for Prometheus'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "note-unit" -d 'Write the outcome of a systemd unit or a cron job for Prometheus; for OnFailure= and OnSuccess='
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand demo" -l dir -d 'Directory to write to; the directory of an earlier demo is replaced, any other directory is refused' -r -F
complete -c eds -n "__fish_eds_using_subcommand demo" -l records -d 'Number of records, 100 to 50365 [default: 50365]' -r
complete -c eds -n "__fish_eds_using_subcommand demo" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c eds -n "__fish_eds_using_subcommand demo" -l json -d 'Print one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand demo" -s q -l quiet -d 'Print only errors to stderr, no warnings or notes'
complete -c eds -n "__fish_eds_using_subcommand demo" -s v -l verbose -d 'Log to stderr; -vv logs more'
complete -c eds -n "__fish_eds_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "verify-chain" -d 'Verify exports or a ledger: always the links; also signatures, payloads, heads and log if you pass the input for them'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "report" -d 'Show a report that eds verify-chain --json wrote, or write it as a page or for a pipeline'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "explain" -d 'Explain a finding: the check, the usual causes and what to do'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "heads" -d 'Write the heads of an export or a ledger: the last sequence and hash of each chain'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "keygen" -d 'Make a new key pair: a seed file for the device, a key-ring entry for the auditor'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "keys" -d 'Update key rings'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "inspect-key" -d 'Show the public key of a seed file, or check a public key'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "sign-record" -d 'Sign a payload as the next record of a chain, and print the record as one line of NDJSON'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "verify-record" -d 'Verify one record: its signature, its payload, and its link to the previous record'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "verify-proof" -d 'Verify a proof from the transparency log offline: inclusion of records or a head, absence, or consistency'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "verify-bundle" -d 'Verify an evidence bundle, offline: records, signatures, heads, and the checkpoint that commits to them'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "ingest" -d 'Ingest records from files into a ledger: check each, store it with its payload, and report its outcome'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "export" -d 'Export records of a ledger as JSON, NDJSON, Arrow IPC or Parquet, with a manifest next to the file'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "device" -d 'Manage the devices of a ledger and their keys'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "log" -d 'Show the decisions of the ingest service, oldest first: accepted, duplicate, rejected with the reason'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "checkpoint" -d 'Append the new records of a ledger to its transparency log, and sign a checkpoint'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "monitor" -d 'Replay every leaf of a transparency log, and compare its checkpoints with those of the witnesses'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "prove" -d 'Prove inclusion of records or a head, absence of a device, or consistency with an earlier checkpoint'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "witness" -d 'Cosign checkpoints of other transparency logs, as their witness'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "erase" -d 'Permanently erase the payload of a record; the record stays, and the transparency log records the erasure'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "bundle" -d 'Write an evidence bundle: one file with records and the proof that they are in the transparency log'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "config" -d 'Check the settings'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "unpack" -d 'Write the payloads in the packs of a directory into files of their own, and remove the packs'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "serve" -d 'Run the ingest service over HTTP until SIGTERM or Ctrl-C'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "push" -d 'Send records to a service on the network, from files or from an outbox'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "rotate" -d 'Rotate the key of a device: write a record that names the new key, signed by the old key, into its outbox'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "inject" -d 'Attack a running service over the network, and check its response to each attack'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "token" -d 'Generate an access token: print the token to stdout, and the settings entry with its hash to stderr'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "update" -d 'Sign and verify updates of devices'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "completions" -d 'Print the completions of a shell'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "drill" -d 'Rehearse a failure on temporary servers, and check the outcome'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "ops" -d 'Back up, restore and verify PostgreSQL ledgers, with an archive in S3 or in a directory'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "demo" -d 'Run a demo: sign, ingest, export and verify real telemetry, then tamper with copies and show the findings'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain report explain heads keygen keys inspect-key sign-record verify-record verify-proof verify-bundle ingest export device log checkpoint monitor prove witness erase bundle config unpack serve push rotate inject token update completions drill ops demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "follow" -d 'Add the successor keys that devices have announced in their records, beginning with first keys that you trust'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "register" -d 'Register a new device with its first key; creates the ledger if it does not exist'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "rotate" -d 'Replace the key of a device, from its next sequence on'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "revoke" -d 'Revoke the keys of a device: its records in the ledger stay valid, further ones are rejected'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "list" -d 'List devices, heads and keys'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "keys" -d 'Write the key ring of the registry'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from checkpoint" -f -a "init" -d 'Open the log of a ledger; makes the key of a new log if its file does not exist, and signs nothing yet'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from checkpoint" -f -a "run" -d 'Sequence all committed records, store the tiles, sign, and delete the payloads that are to be erased'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from checkpoint" -f -a "stamp" -d 'Ask the time stamping authorities of log.tsa for stamps of the last checkpoint, without waiting for log.tsa.interval_seconds'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from checkpoint" -f -a "status" -d 'Show the state of the log, and check that it can continue'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from checkpoint" -f -a "show" -d 'Write the published checkpoint, a signed note, of a ledger or of a service'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from checkpoint" -f -a "request" -d 'Write the request to cosign the last checkpoint, for a witness of the policy that the log cannot reach'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from checkpoint" -f -a "cosigned" -d 'Read the cosignature of a checkpoint from a file, and publish the checkpoint if the quorum is complete'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from checkpoint" -f -a "withdraw" -d 'Withdraw a batch that is not signed, because the ledger was changed before its records got their positions'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from checkpoint" -f -a "recover" -d 'Put the records of the log back into a ledger that was restored to an earlier time'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from prove" -f -a "record" -d 'Prove that the log has a record, or each record of a run'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from prove" -f -a "head" -d 'Prove the last record of a device in the log, or that the log does not know the device'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from prove" -f -a "consistency" -d 'Prove that the log has only grown since an older checkpoint'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from witness" -f -a "init" -d 'Make the key and the state of a new witness, and show its verifier key for policies'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from witness" -f -a "serve" -d 'Cosign checkpoints over HTTP until SIGTERM or Ctrl-C (C2SP tlog-witness)'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from witness" -f -a "cosign" -d 'Cosign the checkpoint of a request file, and print the signature line; the same request gives the same line again'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from witness" -f -a "status" -d 'Show the last cosigned checkpoint of each log'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from witness" -f -a "evidence" -d 'Show notes that logs have signed and that contradict their cosigned checkpoints; exit code 1 if a log has two histories'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Load the settings, open the stores and check that they respond; shows no secrets'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from update" -f -a "sign" -d 'Write the manifest of an image, signed by one or more publishers'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from update" -f -a "add-signature" -d 'Add signatures of publishers to a manifest'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from update" -f -a "verify" -d 'Verify a manifest and an image as a device does: publishers, product, expiry, version, size and hash'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from update" -f -a "create-state" -d 'Create the update state of a new device, which accepts every version'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "list" -d 'List the drills, with their pass criteria and whether their programs are installed'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "all" -d 'Run every drill on temporary servers, one after the other; a failed drill does not stop the others'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "db-failover" -d 'Kill the primary under load, fence it, promote its standby: no acknowledged record may be lost'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "db-restore" -d 'Back up, archive, destroy records, and restore to the moment before: every chain must verify'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "rpo" -d 'Lose the primary with its disk between two archived segments, and measure the loss without and with the WAL receiver'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "s3-object-recovery" -d 'Delete and overwrite payloads in S3, and bring them back byte-identical from their versions'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "alert-fire" -d 'Attack a service and make its store fail; every alert must reach a webhook within 2 minutes'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "report" -d 'Summarize the drills of a quarter from the reports in a directory: Markdown on stdout, or files'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "verify-report" -d 'Verify that the report of a drill is signed with a key and unchanged'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "backup" -d 'Take a base backup: pg_basebackup, extraction, pg_verifybackup, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "verify-backup" -d 'Download a backup, compare its hashes, and verify it with pg_verifybackup'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "backups" -d 'List backups and dumps with age, size, and the times that they can be restored to'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "dump" -d 'Take a logical dump: pg_dump -Fc, checked by pg_restore --list, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "retention" -d 'Delete old backups, dumps and write-ahead log; without --apply only list them with the reasons'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "archive-wal" -d 'Archive a file of the write-ahead log: archive_command = \'eds ops archive-wal --config FILE %p %f\''
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "fetch-wal" -d 'Fetch a file of the write-ahead log: restore_command = \'eds ops fetch-wal --config FILE %f %p\''
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "fetch-ahead" -d 'Fetch write-ahead log ahead of replay: run by eds ops restore, as the user whom PostgreSQL runs as'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "receive-wal" -d 'Stream the write-ahead log into the archive as it is written, so that a crash loses less than with archive_timeout alone'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "check-archive" -d 'Look for gaps in the archived write-ahead log, from each backup to the newest segment'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "configure-postgres" -d 'Compare the settings of PostgreSQL with those that archiving needs; print the SQL, and change them only with --apply'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "restore" -d 'Restore a backup and the write-ahead log after it into an empty directory, and start the server on loopback'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "restore-dump" -d 'Restore a logical dump into an empty database: pg_restore, in one transaction'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "adopt" -d 'Allow a restored copy to archive its write-ahead log: into a new archive, or into the archive of the original server, which can then no longer archive'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "sign-archive" -d 'Sign archive.json and adopted.json, which name the owner of the archive: for an archive from before they were signed, or after a key was replaced'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "verify-recovery" -d 'Run the checklist after a restore: each item passes, fails or is unknown, with evidence'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "s3-setup" -d 'Set up the bucket of payloads, or of the archive: versions, Object Lock COMPLIANCE, lifecycle, replication; without --apply only show the steps'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "s3-check" -d 'Check the protection of the bucket of payloads, or of the archive, by trying to break it'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "restore-object" -d 'Restore payloads that were deleted or overwritten, byte-identical: in S3 from their versions, in a directory from a copy of it'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "watch-postgres" -d 'Write metrics of PostgreSQL\'s slots, standbys and write-ahead log for Prometheus'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "note-unit" -d 'Write the outcome of a systemd unit or a cron job for Prometheus; for OnFailure= and OnSuccess='
