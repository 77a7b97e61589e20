# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_eds_global_optspecs
    string join \n json h/help V/version
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

complete -c eds -n "__fish_eds_needs_command" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_needs_command" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_needs_command" -s V -l version -d 'Print version'
complete -c eds -n "__fish_eds_needs_command" -f -a "verify-chain" -d 'Verify exports or a ledger: links always, signatures, payloads and heads where their input is given'
complete -c eds -n "__fish_eds_needs_command" -f -a "heads" -d 'Write the heads of an export or a ledger: the last sequence and hash of each chain'
complete -c eds -n "__fish_eds_needs_command" -f -a "keygen" -d 'Make a new key pair: a seed file for the device, a key-ring entry for the auditor'
complete -c eds -n "__fish_eds_needs_command" -f -a "inspect-key" -d 'Show the public key of a seed file, or check a public key'
complete -c eds -n "__fish_eds_needs_command" -f -a "sign-record" -d 'Sign a payload as the next record of a chain, and print the record as one line of NDJSON'
complete -c eds -n "__fish_eds_needs_command" -f -a "verify-record" -d 'Verify one record: its signature, its payload, and its link to the record before'
complete -c eds -n "__fish_eds_needs_command" -f -a "ingest" -d 'Take records from files into a ledger: each is checked, stored with its payload, and answered'
complete -c eds -n "__fish_eds_needs_command" -f -a "export" -d 'Export records of a ledger as JSON, NDJSON, Arrow IPC or Parquet, with a manifest beside the file'
complete -c eds -n "__fish_eds_needs_command" -f -a "device" -d 'The devices that a ledger takes records of, and their keys'
complete -c eds -n "__fish_eds_needs_command" -f -a "log" -d 'Show the decisions of the ingest service, oldest first: accepted, duplicate, rejected and why'
complete -c eds -n "__fish_eds_needs_command" -f -a "config" -d 'Look at the settings'
complete -c eds -n "__fish_eds_needs_command" -f -a "serve" -d 'Take records in over HTTP until SIGTERM or Ctrl-C'
complete -c eds -n "__fish_eds_needs_command" -f -a "push" -d 'Send records to a service on the network: from files, or what waits in an outbox'
complete -c eds -n "__fish_eds_needs_command" -f -a "inject" -d 'Attack a running service over the wire, and check that each attack gets the right answer'
complete -c eds -n "__fish_eds_needs_command" -f -a "token" -d 'Make a token: the token for its holder, and the entry for the settings, which keep only its hash'
complete -c eds -n "__fish_eds_needs_command" -f -a "completions" -d 'Print the completions of a shell'
complete -c eds -n "__fish_eds_needs_command" -f -a "drill" -d 'Rehearse a failure on servers of its own, and say whether it went as it must'
complete -c eds -n "__fish_eds_needs_command" -f -a "ops" -d 'Back up, restore, and prove it: PostgreSQL ledgers and their archive in S3 or in a folder'
complete -c eds -n "__fish_eds_needs_command" -f -a "demo" -d 'See it work: sign, ingest, export, verify real telemetry, tamper with copies, see what is caught'
complete -c eds -n "__fish_eds_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l keys -d 'Key ring: check the signatures' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l scheme -d 'Scheme of keys that name none: payload-hash or record [default: payload-hash]' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l payloads -d 'Folder of payloads: hash them again' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l heads -d 'Trusted heads, as written by eds heads: find truncated chains and missing devices' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l start-heads -d 'Heads after which the chains must begin that do not begin at sequence 1' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l manifest -d 'Manifest of the export: its heads, its start heads if none are given, and whether it is that very file. Its heads are claims, and satisfy no --require' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l require -d 'Levels that must be covered in full by what you bring, or the exit code is not 0: signatures, payloads, heads. heads requires both ends of each chain: a trusted head, and a beginning at sequence 1 or after a trusted start head' -r -f -a "signatures\t''
payloads\t''
heads\t''"
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l html -d 'Also write the report as one self-contained HTML page' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l junit -d 'Also write it as JUnit XML' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l sarif -d 'Also write it as SARIF 2.1.0' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l ledger -d 'A ledger instead of files: sqlite:PATH, a path, or postgres://HOST/DATABASE [without URL: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l payload-store -d 'Read the payloads of the ledger\'s records and hash them again: from the configured store, or from ledger, folder:PATH or s3://BUCKET' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l device -d 'Only the chain of this device; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l progress -d 'Show progress on stderr: auto (where it is a terminal), always, never' -r -f -a "auto\t'Where stderr is a terminal'
always\t'Everywhere; as lines where stderr is no terminal'
never\t'Nowhere'"
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l threads -d 'Threads to verify with [default: RAYON_NUM_THREADS, else OMP_NUM_THREADS, else one a core]' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l max-findings -d 'Findings to keep in the report; all are counted' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l github -d 'Also write annotations of GitHub Actions to stderr'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l registered -d 'Keys, heads and start heads, if none are given, as the ledger itself has them: claims, because whoever can change the ledger can change them too'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand heads" -s o -l output -d 'Where to write the snapshot [default: stdout]' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l keys -d 'Key ring: check the signatures too before writing' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l scheme -d 'Scheme of keys that name none: payload-hash or record [default: payload-hash]' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l start-heads -d 'Heads after which the chains must begin, for an export that starts mid-chain' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l history -d 'Folder for a dated copy of every state of the snapshot [default: heads.d for heads.json]' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l accept-rewrite -d 'Replace heads that the chains no longer extend, after a restore; the reason goes into the log of the history' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom [default with --ledger: ops.textfile of the settings]' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l ledger -d 'A ledger instead of files: sqlite:PATH, a path, or postgres://HOST/DATABASE [without URL: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l progress -d 'Show progress on stderr: auto (where it is a terminal), always, never' -r -f -a "auto\t'Where stderr is a terminal'
always\t'Everywhere; as lines where stderr is no terminal'
never\t'Nowhere'"
complete -c eds -n "__fish_eds_using_subcommand heads" -l threads -d 'Threads to verify with [default: RAYON_NUM_THREADS, else OMP_NUM_THREADS, else one a core]' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l max-findings -d 'Findings to keep in the report; all are counted' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l force -d 'Write the snapshot even if links or signatures do not hold'
complete -c eds -n "__fish_eds_using_subcommand heads" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand heads" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand keygen" -l device -d 'The device, for the key-ring entry' -r
complete -c eds -n "__fish_eds_using_subcommand keygen" -l out -d 'The seed file to write [default: ID.seed, or device.seed]' -r -F
complete -c eds -n "__fish_eds_using_subcommand keygen" -l scheme -d 'What the device will sign: record, or payload-hash as older devices do' -r
complete -c eds -n "__fish_eds_using_subcommand keygen" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand keygen" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand inspect-key" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand inspect-key" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l key -d 'The device\'s seed file' -r -F
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l device -d 'The device' -r
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l payload -d 'The file that the record commits to' -r -F
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l object-ref -d 'Where the payload will be kept' -r
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l timestamp-ms -d 'When it was observed, Unix milliseconds [default: now]' -r
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l after -d 'The chain so far: its records (the device\'s last one counts), or a heads snapshot [default: none, sequence 1]' -r -F
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l scheme -d 'What is signed: record, or payload-hash as older devices do' -r
complete -c eds -n "__fish_eds_using_subcommand sign-record" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand sign-record" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l key -d 'The device\'s public key' -r
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l keys -d 'Key ring' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l scheme -d 'Scheme of keys that name none: payload-hash or record [default: payload-hash]' -r
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l payload -d 'The payload that the record commits to' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l previous -d 'A file with the record before this one in its chain' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-record" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand verify-record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ingest" -l payloads-from -d 'Folder of their payloads, under their object references' -r -F
complete -c eds -n "__fish_eds_using_subcommand ingest" -l register -d 'Key ring: register its devices and keys first; makes the ledger where there is none' -r -F
complete -c eds -n "__fish_eds_using_subcommand ingest" -l scheme -d 'Scheme of keys that name none: payload-hash or record [default: payload-hash]' -r
complete -c eds -n "__fish_eds_using_subcommand ingest" -l metrics-listen -d 'Answer GET /metrics at this address while records are taken in, such as 127.0.0.1:9464 [default: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand ingest" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand ingest" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ingest" -l payloads -d 'Payload store: ledger, folder:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand ingest" -l progress -d 'Show progress on stderr: auto (where it is a terminal), always, never' -r -f -a "auto\t'Where stderr is a terminal'
always\t'Everywhere; as lines where stderr is no terminal'
never\t'Nowhere'"
complete -c eds -n "__fish_eds_using_subcommand ingest" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ingest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand export" -s o -l output -d 'File to write; its name says the format: .json, .ndjson (also .gz, .zst), .arrow, .parquet' -r -F
complete -c eds -n "__fish_eds_using_subcommand export" -l format -d 'Write to stdout, or another stream that --output names, in this format and without a manifest' -r -f -a "json\t''
ndjson\t''
arrow\t''
parquet\t''"
complete -c eds -n "__fish_eds_using_subcommand export" -l device -d 'Only this device; may be repeated' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l from-sequence -d 'The lowest sequence' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l to-sequence -d 'The highest sequence' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l since -d 'The earliest time of a record: RFC 3339 or Unix milliseconds' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l before -d 'The time before which records lie: RFC 3339 or Unix milliseconds' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand export" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand export" -l progress -d 'Show progress on stderr: auto (where it is a terminal), always, never' -r -f -a "auto\t'Where stderr is a terminal'
always\t'Everywhere; as lines where stderr is no terminal'
never\t'Nowhere'"
complete -c eds -n "__fish_eds_using_subcommand export" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "register" -d 'Register a new device with its first key; makes the ledger where there is none'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "rotate" -d 'Give a device another key, for the records from its next sequence on'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "revoke" -d 'Revoke the keys of a device: what is in the ledger stays valid, nothing more is taken'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "list" -d 'List devices, heads and keys'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "keys" -d 'Write the key ring of the registry'
complete -c eds -n "__fish_eds_using_subcommand device; and not __fish_seen_subcommand_from register rotate revoke list keys help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l key -d 'Its public key, 64 hex digits' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l scheme -d 'What it signs: record, or payload-hash as older devices do' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l valid-from -d 'The first sequence that it signs [default: the next of the chain]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l start-head -d 'For a chain that began elsewhere: its last link there, after which this ledger begins' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from register" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l key -d 'Its public key, 64 hex digits' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l scheme -d 'What it signs: record, or payload-hash as older devices do' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l valid-from -d 'The first sequence that it signs [default: the next of the chain]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -s o -l output -d 'Where to write it [default: stdout]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from keys" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "register" -d 'Register a new device with its first key; makes the ledger where there is none'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Give a device another key, for the records from its next sequence on'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Revoke the keys of a device: what is in the ledger stays valid, nothing more is taken'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "list" -d 'List devices, heads and keys'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "keys" -d 'Write the key ring of the registry'
complete -c eds -n "__fish_eds_using_subcommand device; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand log" -l device -d 'Only this device' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l outcome -d 'Only this outcome: accepted, duplicate or rejected' -r -f -a "accepted\t''
duplicate\t''
rejected\t''"
complete -c eds -n "__fish_eds_using_subcommand log" -l reason -d 'Only this reason code, such as fork or sequence_gap' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l after -d 'Only entries after this id' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l limit -d 'At most so many entries' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand log" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand log" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand log" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand config; and not __fish_seen_subcommand_from check help" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand config; and not __fish_seen_subcommand_from check help" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand config; and not __fish_seen_subcommand_from check help" -f -a "check" -d 'Load the settings, open the stores and ask whether they answer; nothing secret is shown'
complete -c eds -n "__fish_eds_using_subcommand config; and not __fish_seen_subcommand_from check help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -l payloads -d 'Payload store: ledger, folder:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -l create -d 'Make a ledger file or a payload folder that is not there yet'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Load the settings, open the stores and ask whether they answer; nothing secret is shown'
complete -c eds -n "__fish_eds_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand serve" -l listen -d 'Address to listen on; may be given several times [default: as configured, or 127.0.0.1:8080]' -r
complete -c eds -n "__fish_eds_using_subcommand serve" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand serve" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand serve" -l payloads -d 'Payload store: ledger, folder:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand serve" -l create -d 'Make a ledger file or a payload folder that is not there yet'
complete -c eds -n "__fish_eds_using_subcommand serve" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand push" -l payloads-from -d 'Folder of their payloads, under their object references' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l outbox -d 'A device\'s outbox, instead of files' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l device -d 'The device of the outbox' -r
complete -c eds -n "__fish_eds_using_subcommand push" -l key -d 'Its seed file' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l url -d 'The service: http://HOST:PORT or https://HOST:PORT' -r
complete -c eds -n "__fish_eds_using_subcommand push" -l token-file -d 'File with a token, where the service asks for one; the variable EDGESENTRY_TOKEN serves as well' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l ca -d 'PEM file of the authorities to trust [default: those of the system]' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand push" -l attempts -d 'How often a record is sent before it is given up' -r
complete -c eds -n "__fish_eds_using_subcommand push" -l timeout -d 'Seconds that the service may stand still before an attempt has failed' -r
complete -c eds -n "__fish_eds_using_subcommand push" -l progress -d 'Show progress on stderr: auto (where it is a terminal), always, never' -r -f -a "auto\t'Where stderr is a terminal'
always\t'Everywhere; as lines where stderr is no terminal'
never\t'Nowhere'"
complete -c eds -n "__fish_eds_using_subcommand push" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand push" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand inject" -l url -d 'The service: http://HOST:PORT or https://HOST:PORT; may be given several times, for the nodes of one ledger or for services apart' -r
complete -c eds -n "__fish_eds_using_subcommand inject" -l token-file -d 'File with a token, where the service asks for one; the variable EDGESENTRY_TOKEN serves as well' -r -F
complete -c eds -n "__fish_eds_using_subcommand inject" -l ca -d 'PEM file of the authorities to trust [default: those of the system]' -r -F
complete -c eds -n "__fish_eds_using_subcommand inject" -l cert -d 'PEM file of a client certificate' -r -F
complete -c eds -n "__fish_eds_using_subcommand inject" -l cert-key -d 'PEM file of its private key' -r -F
complete -c eds -n "__fish_eds_using_subcommand inject" -l attempts -d 'How often a record is sent before it is given up' -r
complete -c eds -n "__fish_eds_using_subcommand inject" -l timeout -d 'Seconds that the service may stand still before an attempt has failed' -r
complete -c eds -n "__fish_eds_using_subcommand inject" -l attack -d 'Only this attack; may be given several times [default: all]' -r
complete -c eds -n "__fish_eds_using_subcommand inject" -l count -d 'How often each is sent' -r
complete -c eds -n "__fish_eds_using_subcommand inject" -l rate -d 'Attacks a second, at most [default: as fast as they are answered]' -r
complete -c eds -n "__fish_eds_using_subcommand inject" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand inject" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand token" -l scope -d 'What it may do: ingest, read, admin, metrics; may be given several times' -r
complete -c eds -n "__fish_eds_using_subcommand token" -l device -d 'With the scope ingest: only records of this device; may be given several times' -r
complete -c eds -n "__fish_eds_using_subcommand token" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand token" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand completions" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "list" -d 'Show the drills, when each has passed, and whether what it needs is installed'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "all" -d 'Hold every drill on servers of its own, one after the other; one that fails does not stop the others'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "db-failover" -d 'Kill the primary under load, fence it, promote its standby: no acknowledged record may be lost'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "db-restore" -d 'Back up, archive, destroy records, and restore to the moment before: every chain must verify'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "rpo" -d 'Lose the primary with its disk between two archived segments: how much is gone, without and with the sidecar'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "s3-object-recovery" -d 'Delete and overwrite payloads in S3, and bring them back byte-identical from their versions'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "alert-fire" -d 'Attack a service and make its store fail; every alert must reach a webhook within 2 minutes'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "report" -d 'Tell what the drills of a quarter have shown, from the reports in a folder: Markdown on stdout, or files'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "verify-report" -d 'Verify that the report of a drill is signed with a key, and says the same as when it was signed'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list all db-failover db-restore rpo s3-object-recovery alert-fire report verify-report help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from list" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l postgres-bin -d 'Folder of the programs of PostgreSQL [default: the newest ones in the usual places]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l weed -d 'The program weed of SeaweedFS [default: that of the variable WEED, of PATH, or of .venv]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l report-dir -d 'Folder for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; made where it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l sign-key -d 'Seed file of the key that signs the report, as NAME.json.sig' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l keep-days -d 'How long the report is to be kept; eds drill report --remove-expired removes it then' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: learns when the drill last ran and last passed' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l short -d 'Few records, a short load, one alert; counts for no alert and for no report of a quarter'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from all" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l records -d 'Records in the ledger before the load begins' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l load -d 'Records that the load brings before the crash and after each step' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l cluster -d 'A primary and a standby that run already, such as those of a staging site: the settings whose ledger names both hosts, in a role that may make databases' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l stop-command -d 'Stops the primary of --cluster as a crash would; run by sh, with DRILL_PRIMARY and DRILL_STANDBY as host:port' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l fence-command -d 'Sees to it that the stopped primary takes no writes when it comes back' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l promote-command -d 'Promotes the standby [default: pg_promote, by SQL]' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l rejoin-command -d 'Lets the old primary come back as a standby of the new one, with pg_rewind or as a new copy' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l start-command -d 'Starts the primary as it was, for the case that it cannot be fenced' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l postgres-bin -d 'Folder of the programs of PostgreSQL [default: the newest ones in the usual places]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l report-dir -d 'Folder for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; made where it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l sign-key -d 'Seed file of the key that signs the report, as NAME.json.sig' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l keep-days -d 'How long the report is to be kept; eds drill report --remove-expired removes it then' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: learns when the drill last ran and last passed' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l asynchronous -d 'With an asynchronous standby that is a second behind: records are lost, and the drill fails'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l yes -d 'Do not ask before systems of your own are touched'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-failover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l records -d 'Records up to the moment that is restored to' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l archive -d 'Restore the archive that these settings name' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l back -d 'How far back, in seconds' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l heads -d 'Snapshot of that time, as eds heads wrote it' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l keys -d 'Key ring [default: the keys that the ledger itself has registered]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l start-heads -d 'Links after which chains begin that do not begin at sequence 1, as eds heads wrote them' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l scheme -d 'Scheme of keys that name none: payload-hash or record [default: payload-hash]' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l postgres-bin -d 'Folder of the programs of PostgreSQL [default: the newest ones in the usual places]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l weed -d 'The program weed of SeaweedFS [default: that of the variable WEED, of PATH, or of .venv]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l report-dir -d 'Folder for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; made where it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l sign-key -d 'Seed file of the key that signs the report, as NAME.json.sig' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l keep-days -d 'How long the report is to be kept; eds drill report --remove-expired removes it then' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: learns when the drill last ran and last passed' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l commit -d 'Make a transaction on the server of the archive first, one that changes nothing, so that recovery stops at the moment on a quiet server too; without it the archive is restored to its end where nothing was committed since'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l yes -d 'Do not ask before systems of your own are touched'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from db-restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l seconds -d 'How long records come before the crash' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l archive-timeout -d 'archive_timeout of the primary, in seconds' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l postgres-bin -d 'Folder of the programs of PostgreSQL [default: the newest ones in the usual places]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l weed -d 'The program weed of SeaweedFS [default: that of the variable WEED, of PATH, or of .venv]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l report-dir -d 'Folder for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; made where it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l sign-key -d 'Seed file of the key that signs the report, as NAME.json.sig' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l keep-days -d 'How long the report is to be kept; eds drill report --remove-expired removes it then' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: learns when the drill last ran and last passed' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from rpo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l records -d 'Records whose payloads are stored' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l bucket -d 'The bucket of a site: the settings whose payloads are in it' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l weed -d 'The program weed of SeaweedFS [default: that of the variable WEED, of PATH, or of .venv]' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l report-dir -d 'Folder for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; made where it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l sign-key -d 'Seed file of the key that signs the report, as NAME.json.sig' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l keep-days -d 'How long the report is to be kept; eds drill report --remove-expired removes it then' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: learns when the drill last ran and last passed' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l yes -d 'Do not ask before systems of your own are touched'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from s3-object-recovery" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l alert -d 'Only this alert; may be given more than once [default: SignatureFailureSeen, SignatureFailureSurge, ChainBreak, IngestStorageError, HighRejectionRate, in this order]' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l within -d 'How soon each alert must arrive' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l scrape-interval -d 'How often the drill\'s own Prometheus scrapes and evaluates' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l rules -d 'Rules for the drill\'s own Prometheus instead of those that are shipped' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l prometheus -d 'A Prometheus that runs already' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l alertmanager -d 'An Alertmanager that runs already, and that this Prometheus tells' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l listen -d 'Where the service of the drill serves its metrics to a Prometheus that runs already' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l webhook -d 'Where the drill listens for a webhook of an Alertmanager that runs already [default: it asks Alertmanager, and does not see the alert delivered]' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l report-dir -d 'Folder for the report of this run, as DRILL-TIME.json and DRILL-TIME.txt; made where it is missing' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l sign-key -d 'Seed file of the key that signs the report, as NAME.json.sig' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l sign-config -d 'Settings file whose ops.signing_key signs the report, if it names one' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l keep-days -d 'How long the report is to be kept; eds drill report --remove-expired removes it then' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom: learns when the drill last ran and last passed' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from alert-fire" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l quarter -d 'Which quarter [default: the one that it is now]' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l key -d 'Public key: only reports that are signed with it count, and one whose signature is not valid fails the quarter' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l markdown -d 'File for the report in Markdown' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l html -d 'File for the report as an HTML page' -r -F
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l last-quarter -d 'The quarter before the one that it is now'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l remove-expired -d 'Remove the reports of the folder that are to be kept no longer, as --keep-days of their drills said'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from verify-report" -l key -d 'The public key of operations' -r
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from verify-report" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from verify-report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show the drills, when each has passed, and whether what it needs is installed'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "all" -d 'Hold every drill on servers of its own, one after the other; one that fails does not stop the others'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "db-failover" -d 'Kill the primary under load, fence it, promote its standby: no acknowledged record may be lost'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "db-restore" -d 'Back up, archive, destroy records, and restore to the moment before: every chain must verify'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "rpo" -d 'Lose the primary with its disk between two archived segments: how much is gone, without and with the sidecar'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "s3-object-recovery" -d 'Delete and overwrite payloads in S3, and bring them back byte-identical from their versions'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "alert-fire" -d 'Attack a service and make its store fail; every alert must reach a webhook within 2 minutes'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "report" -d 'Tell what the drills of a quarter have shown, from the reports in a folder: Markdown on stdout, or files'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "verify-report" -d 'Verify that the report of a drill is signed with a key, and says the same as when it was signed'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "backup" -d 'Take a base backup: pg_basebackup, extraction, pg_verifybackup, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "verify-backup" -d 'Download a backup, compare its hashes, and let pg_verifybackup prove it again'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "backups" -d 'List backups and dumps: age, size, and to what moments they can be restored'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "dump" -d 'Take a logical dump, weekly: pg_dump -Fc, listed by pg_restore, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "retention" -d 'Delete old backups, dumps and write-ahead log: says what and why; deletes only with --apply'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "archive-wal" -d 'Archive a file of the write-ahead log: archive_command = \'eds ops archive-wal --config FILE %p %f\''
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "fetch-wal" -d 'Fetch a file of the write-ahead log: restore_command = \'eds ops fetch-wal --config FILE %f %p\''
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "fetch-ahead" -d 'Fetch write-ahead log ahead of replay: run by eds ops restore, as the user whom PostgreSQL runs as'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "receive-wal" -d 'Receive write-ahead log as it is written, and archive it: what a crash loses shrinks from a minute to nothing'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "check-archive" -d 'Look for gaps in the archived write-ahead log, from each backup to the newest segment'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "configure-postgres" -d 'Compare the settings of PostgreSQL with what archiving needs; prints the SQL, changes them only with --apply'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "restore" -d 'Restore a backup and the write-ahead log behind it into an empty folder, and start the server on loopback'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "restore-dump" -d 'Restore a logical dump into an empty database: pg_restore, in one transaction'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "adopt" -d 'Let a restored copy archive: into an archive of its own, or into that of the original, which then is over'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "sign-archive" -d 'Sign archive.json and adopted.json, which say whose the archive is: for an archive from before they were signed, or after a key was replaced'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "verify-recovery" -d 'Go through the checklist after a restore: each item passes, fails or is unknown, with evidence'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "s3-setup" -d 'Set up the bucket of payloads, or of the archive: versions, Object Lock COMPLIANCE, lifecycle, replication; shows what it would do'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "s3-check" -d 'Say what the bucket of payloads, or of the archive, really holds to, by trying it'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "restore-object" -d 'Bring payloads back that were deleted or overwritten in S3, byte-identical, from their versions'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "watch-postgres" -d 'Leave what PostgreSQL keeps for its slots and standbys, and the size of its write-ahead log, for Prometheus'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "note-unit" -d 'Leave the outcome of a systemd unit or a cron job for Prometheus: OnFailure= and OnSuccess= run it'
complete -c eds -n "__fish_eds_using_subcommand ops; and not __fish_seen_subcommand_from backup verify-backup backups dump retention archive-wal fetch-wal fetch-ahead receive-wal check-archive configure-postgres restore restore-dump adopt sign-archive verify-recovery s3-setup s3-check restore-object watch-postgres note-unit help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backup" -l if-log-exceeds -d 'Take it only if more write-ahead log than this was written since the newest backup, in MiB' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backup" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backup" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -l dump -d 'A dump'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -l allow-unsigned -d 'Read what is not signed although the settings name a key: what was archived before they did'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backups" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backups" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from backups" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from dump" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from dump" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -l backups -d 'Days that base backups are kept' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -l dumps -d 'Days that dumps are kept' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -l apply -d 'Delete it'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from retention" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from archive-wal" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from archive-wal" -l check -d 'Archive nothing: see whether the archive can be reached and written to, by an object trial.json'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from archive-wal" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from archive-wal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -l prefetch -d 'Segments that are fetched ahead at once' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -l allow-unsigned -d 'Read what is not signed although the settings name a key: what was archived before they did'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-wal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -l timeline -d 'The timeline that is followed' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -l allow-unsigned -d 'Read what is not signed although the settings name a key: what was archived before they did'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from fetch-ahead" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -l folder -d 'Folder for what is being received; kept over restarts' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -l slot -d 'Replication slot, made where there is none' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -l interval -d 'Seconds between two times that the incomplete segment is sent, where it has grown' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from receive-wal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -l contents -d 'Download the log and read it through'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -l allow-unsigned -d 'Read what is not signed although the settings name a key: what was archived before they did'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from check-archive" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l archive-timeout -d 'Seconds after which a segment that is not full is archived [default: what is set, at most 60]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l standby -d 'application_name of a synchronous standby; may be repeated. A commit then waits for the first that is there, so set it only once a standby is there [default: what is set]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l apply -d 'Change what differs: ALTER SYSTEM and a reload'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l no-standby -d 'Let commits wait for no standby; with --weaken-durability'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l weaken-durability -d 'Let commits wait for fewer standbys than now'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l replace-archiver -d 'Replace the archive_command or archive_library of another archiver'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from configure-postgres" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l data -d 'Data folder: empty, or not there yet' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l port -d 'Port on loopback' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l target-time -d 'The last commit at or before this moment: RFC 3339 with its zone [default: the end of the archive]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l target-name -d 'A restore point that was named with pg_create_restore_point' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l backup -d 'Backup to begin with [default: the last one before the target]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l timeline -d 'Timeline to follow [default: the one that the archive is on now; for a time before it began, the one of then]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l patience -d 'Minutes that recovery may take' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l drill -d 'A copy to throw away: archive_mode=off, for good'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l accept-loss -d 'Restore to the end of the archive although segments are missing, losing all behind the gap'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l allow-unsigned -d 'Read what is not signed although the settings name a key: what was archived before they did'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -l into -d 'Database to restore into' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -l dump -d 'Dump [default: the newest one]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -l allow-unsigned -d 'Read what is not signed although the settings name a key: what was archived before they did'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -l data -d 'Data folder of the copy, as eds ops restore was told' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -l eds -d 'The program eds that PostgreSQL runs [default: this one]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -l take-over -d 'Take over the archive of the original, which is stopped for good'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from adopt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from sign-archive" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from sign-archive" -l apply -d 'Sign them'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from sign-archive" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from sign-archive" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l heads -d 'Snapshot from before the incident, as eds heads wrote it' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l keys -d 'Key ring [default: the keys that the ledger itself has registered]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l start-heads -d 'Links after which chains begin that do not begin at sequence 1, as eds heads wrote them' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l scheme -d 'Scheme of keys that name none: payload-hash or record [default: payload-hash]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l target-time -d 'The moment that was restored to: RFC 3339 with its zone' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l alertmanager -d 'Alertmanager to ask for silences that are to be lifted, by amtool' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l payloads -d 'Payload store: ledger, folder:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l progress -d 'Show progress on stderr: auto (where it is a terminal), always, never' -r -f -a "auto\t'Where stderr is a terminal'
always\t'Everywhere; as lines where stderr is no terminal'
never\t'Nowhere'"
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from verify-recovery" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l retention-days -d 'Days that every new version is kept from everybody' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l replicate-to -d 'ARN of a bucket to which the store copies by itself' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l replication-role -d 'ARN of the role that copies' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l policies -d 'Folder for least-privilege policy documents, one a role: ROLE.json' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l archive -d 'The bucket holds the archive: its lifecycle deletes versions that were deleted or replaced, and its roles are others'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l lock-existing -d 'Look at all payloads that were stored before, and with --apply lock those that can be deleted'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l apply -d 'Do it'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-setup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -l retention-days -d 'The least default retention' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -l archive -d 'The bucket holds the archive: its lifecycle deletes versions that were deleted or replaced, and its roles are others'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from s3-check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l devices -d 'File with the names of devices, one a line' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l from -d 'The lowest sequence' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l to -d 'The highest sequence' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l payloads -d 'Payload store: ledger, folder:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l all -d 'Payloads of every device in the ledger'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l apply -d 'Do it'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from restore-object" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from watch-postgres" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom [default: ops.textfile of the settings]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from watch-postgres" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from watch-postgres" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from watch-postgres" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -l metrics-file -d 'File for the textfile collector of node_exporter, name.prom [default: ops.textfile of the settings]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -l failed -d 'Its last run failed; without this it succeeded'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from note-unit" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "backup" -d 'Take a base backup: pg_basebackup, extraction, pg_verifybackup, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "verify-backup" -d 'Download a backup, compare its hashes, and let pg_verifybackup prove it again'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "backups" -d 'List backups and dumps: age, size, and to what moments they can be restored'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "dump" -d 'Take a logical dump, weekly: pg_dump -Fc, listed by pg_restore, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "retention" -d 'Delete old backups, dumps and write-ahead log: says what and why; deletes only with --apply'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "archive-wal" -d 'Archive a file of the write-ahead log: archive_command = \'eds ops archive-wal --config FILE %p %f\''
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "fetch-wal" -d 'Fetch a file of the write-ahead log: restore_command = \'eds ops fetch-wal --config FILE %f %p\''
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "fetch-ahead" -d 'Fetch write-ahead log ahead of replay: run by eds ops restore, as the user whom PostgreSQL runs as'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "receive-wal" -d 'Receive write-ahead log as it is written, and archive it: what a crash loses shrinks from a minute to nothing'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "check-archive" -d 'Look for gaps in the archived write-ahead log, from each backup to the newest segment'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "configure-postgres" -d 'Compare the settings of PostgreSQL with what archiving needs; prints the SQL, changes them only with --apply'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "restore" -d 'Restore a backup and the write-ahead log behind it into an empty folder, and start the server on loopback'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "restore-dump" -d 'Restore a logical dump into an empty database: pg_restore, in one transaction'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "adopt" -d 'Let a restored copy archive: into an archive of its own, or into that of the original, which then is over'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "sign-archive" -d 'Sign archive.json and adopted.json, which say whose the archive is: for an archive from before they were signed, or after a key was replaced'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "verify-recovery" -d 'Go through the checklist after a restore: each item passes, fails or is unknown, with evidence'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "s3-setup" -d 'Set up the bucket of payloads, or of the archive: versions, Object Lock COMPLIANCE, lifecycle, replication; shows what it would do'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "s3-check" -d 'Say what the bucket of payloads, or of the archive, really holds to, by trying it'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "restore-object" -d 'Bring payloads back that were deleted or overwritten in S3, byte-identical, from their versions'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "watch-postgres" -d 'Leave what PostgreSQL keeps for its slots and standbys, and the size of its write-ahead log, for Prometheus'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "note-unit" -d 'Leave the outcome of a systemd unit or a cron job for Prometheus: OnFailure= and OnSuccess= run it'
complete -c eds -n "__fish_eds_using_subcommand ops; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand demo" -l dir -d 'Where to write the export; a folder of an earlier demo is written over, any other is left alone' -r -F
complete -c eds -n "__fish_eds_using_subcommand demo" -l records -d 'How many records to make, 100 to 50365 [default: 50365]' -r
complete -c eds -n "__fish_eds_using_subcommand demo" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "verify-chain" -d 'Verify exports or a ledger: links always, signatures, payloads and heads where their input is given'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "heads" -d 'Write the heads of an export or a ledger: the last sequence and hash of each chain'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "keygen" -d 'Make a new key pair: a seed file for the device, a key-ring entry for the auditor'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "inspect-key" -d 'Show the public key of a seed file, or check a public key'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "sign-record" -d 'Sign a payload as the next record of a chain, and print the record as one line of NDJSON'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "verify-record" -d 'Verify one record: its signature, its payload, and its link to the record before'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "ingest" -d 'Take records from files into a ledger: each is checked, stored with its payload, and answered'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "export" -d 'Export records of a ledger as JSON, NDJSON, Arrow IPC or Parquet, with a manifest beside the file'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "device" -d 'The devices that a ledger takes records of, and their keys'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "log" -d 'Show the decisions of the ingest service, oldest first: accepted, duplicate, rejected and why'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "config" -d 'Look at the settings'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "serve" -d 'Take records in over HTTP until SIGTERM or Ctrl-C'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "push" -d 'Send records to a service on the network: from files, or what waits in an outbox'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "inject" -d 'Attack a running service over the wire, and check that each attack gets the right answer'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "token" -d 'Make a token: the token for its holder, and the entry for the settings, which keep only its hash'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "completions" -d 'Print the completions of a shell'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "drill" -d 'Rehearse a failure on servers of its own, and say whether it went as it must'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "ops" -d 'Back up, restore, and prove it: PostgreSQL ledgers and their archive in S3 or in a folder'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "demo" -d 'See it work: sign, ingest, export, verify real telemetry, tamper with copies, see what is caught'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill ops demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "register" -d 'Register a new device with its first key; makes the ledger where there is none'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "rotate" -d 'Give a device another key, for the records from its next sequence on'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "revoke" -d 'Revoke the keys of a device: what is in the ledger stays valid, nothing more is taken'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "list" -d 'List devices, heads and keys'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "keys" -d 'Write the key ring of the registry'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Load the settings, open the stores and ask whether they answer; nothing secret is shown'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "list" -d 'Show the drills, when each has passed, and whether what it needs is installed'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "all" -d 'Hold every drill on servers of its own, one after the other; one that fails does not stop the others'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "db-failover" -d 'Kill the primary under load, fence it, promote its standby: no acknowledged record may be lost'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "db-restore" -d 'Back up, archive, destroy records, and restore to the moment before: every chain must verify'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "rpo" -d 'Lose the primary with its disk between two archived segments: how much is gone, without and with the sidecar'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "s3-object-recovery" -d 'Delete and overwrite payloads in S3, and bring them back byte-identical from their versions'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "alert-fire" -d 'Attack a service and make its store fail; every alert must reach a webhook within 2 minutes'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "report" -d 'Tell what the drills of a quarter have shown, from the reports in a folder: Markdown on stdout, or files'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "verify-report" -d 'Verify that the report of a drill is signed with a key, and says the same as when it was signed'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "backup" -d 'Take a base backup: pg_basebackup, extraction, pg_verifybackup, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "verify-backup" -d 'Download a backup, compare its hashes, and let pg_verifybackup prove it again'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "backups" -d 'List backups and dumps: age, size, and to what moments they can be restored'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "dump" -d 'Take a logical dump, weekly: pg_dump -Fc, listed by pg_restore, then into the archive with a manifest'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "retention" -d 'Delete old backups, dumps and write-ahead log: says what and why; deletes only with --apply'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "archive-wal" -d 'Archive a file of the write-ahead log: archive_command = \'eds ops archive-wal --config FILE %p %f\''
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "fetch-wal" -d 'Fetch a file of the write-ahead log: restore_command = \'eds ops fetch-wal --config FILE %f %p\''
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "fetch-ahead" -d 'Fetch write-ahead log ahead of replay: run by eds ops restore, as the user whom PostgreSQL runs as'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "receive-wal" -d 'Receive write-ahead log as it is written, and archive it: what a crash loses shrinks from a minute to nothing'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "check-archive" -d 'Look for gaps in the archived write-ahead log, from each backup to the newest segment'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "configure-postgres" -d 'Compare the settings of PostgreSQL with what archiving needs; prints the SQL, changes them only with --apply'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "restore" -d 'Restore a backup and the write-ahead log behind it into an empty folder, and start the server on loopback'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "restore-dump" -d 'Restore a logical dump into an empty database: pg_restore, in one transaction'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "adopt" -d 'Let a restored copy archive: into an archive of its own, or into that of the original, which then is over'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "sign-archive" -d 'Sign archive.json and adopted.json, which say whose the archive is: for an archive from before they were signed, or after a key was replaced'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "verify-recovery" -d 'Go through the checklist after a restore: each item passes, fails or is unknown, with evidence'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "s3-setup" -d 'Set up the bucket of payloads, or of the archive: versions, Object Lock COMPLIANCE, lifecycle, replication; shows what it would do'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "s3-check" -d 'Say what the bucket of payloads, or of the archive, really holds to, by trying it'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "restore-object" -d 'Bring payloads back that were deleted or overwritten in S3, byte-identical, from their versions'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "watch-postgres" -d 'Leave what PostgreSQL keeps for its slots and standbys, and the size of its write-ahead log, for Prometheus'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from ops" -f -a "note-unit" -d 'Leave the outcome of a systemd unit or a cron job for Prometheus: OnFailure= and OnSuccess= run it'
