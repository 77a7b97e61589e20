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
complete -c eds -n "__fish_eds_needs_command" -f -a "demo" -d 'See it work: sign, ingest, export, verify real telemetry, tamper with copies, see what is caught'
complete -c eds -n "__fish_eds_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l keys -d 'Key ring: check the signatures' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l scheme -d 'Scheme of keys that name none: payload-hash or record [default: payload-hash]' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l payloads -d 'Folder of payloads: hash them again' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l heads -d 'Trusted heads, as written by eds heads: find truncated chains and missing devices' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l start-heads -d 'Heads after which the chains must begin, for an export that starts mid-chain' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l manifest -d 'Manifest of the export: its heads and start heads where none are given, and whether it is that very file' -r -F
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l require -d 'Levels that must be covered in full, or the exit code is not 0' -r -f -a "signatures\t''
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
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l threads -d 'Threads to verify with [default: one a core]' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l max-findings -d 'Findings to keep in the report; all are counted' -r
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l github -d 'Also write annotations of GitHub Actions to stderr'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l registered -d 'Keys and heads, where none are given, as the ledger itself has them: whoever can change the ledger can change them too'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand verify-chain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand heads" -s o -l output -d 'Where to write the snapshot [default: stdout]' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l keys -d 'Key ring: check the signatures too before writing' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l scheme -d 'Scheme of keys that name none: payload-hash or record [default: payload-hash]' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l start-heads -d 'Heads after which the chains must begin, for an export that starts mid-chain' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l ledger -d 'A ledger instead of files: sqlite:PATH, a path, or postgres://HOST/DATABASE [without URL: as configured]' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand heads" -l progress -d 'Show progress on stderr: auto (where it is a terminal), always, never' -r -f -a "auto\t'Where stderr is a terminal'
always\t'Everywhere; as lines where stderr is no terminal'
never\t'Nowhere'"
complete -c eds -n "__fish_eds_using_subcommand heads" -l threads -d 'Threads to verify with [default: one a core]' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l max-findings -d 'Findings to keep in the report; all are counted' -r
complete -c eds -n "__fish_eds_using_subcommand heads" -l force -d 'Write the snapshot even where the chains do not hold'
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
complete -c eds -n "__fish_eds_using_subcommand ingest" -l ledger -d 'Ledger: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured, or sqlite:edgesentry.db]' -r
complete -c eds -n "__fish_eds_using_subcommand ingest" -l config -d 'Settings file, TOML [default: the one that EDS_CONFIG names, or none]' -r -F
complete -c eds -n "__fish_eds_using_subcommand ingest" -l payloads -d 'Payload store: ledger, folder:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]' -r
complete -c eds -n "__fish_eds_using_subcommand ingest" -l progress -d 'Show progress on stderr: auto (where it is a terminal), always, never' -r -f -a "auto\t'Where stderr is a terminal'
always\t'Everywhere; as lines where stderr is no terminal'
never\t'Nowhere'"
complete -c eds -n "__fish_eds_using_subcommand ingest" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand ingest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand export" -s o -l output -d 'File to write; its name says the format: .json, .ndjson (also .gz, .zst), .arrow, .parquet' -r -F
complete -c eds -n "__fish_eds_using_subcommand export" -l format -d 'Write to stdout in this format, without a manifest' -r -f -a "json\t''
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
complete -c eds -n "__fish_eds_using_subcommand inject" -l url -d 'The service: http://HOST:PORT or https://HOST:PORT' -r
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
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list help" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list help" -f -a "list" -d 'Show the drills, when each has passed, and whether what it needs is installed'
complete -c eds -n "__fish_eds_using_subcommand drill; and not __fish_seen_subcommand_from list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from list" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show the drills, when each has passed, and whether what it needs is installed'
complete -c eds -n "__fish_eds_using_subcommand drill; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand demo" -l dir -d 'Where to write the export; a folder of an earlier demo is written over, any other is left alone' -r -F
complete -c eds -n "__fish_eds_using_subcommand demo" -l records -d 'How many records to make, 100 to 50365 [default: 50365]' -r
complete -c eds -n "__fish_eds_using_subcommand demo" -l json -d 'Answer with one line of JSON on stdout, on success and on failure'
complete -c eds -n "__fish_eds_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "verify-chain" -d 'Verify exports or a ledger: links always, signatures, payloads and heads where their input is given'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "heads" -d 'Write the heads of an export or a ledger: the last sequence and hash of each chain'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "keygen" -d 'Make a new key pair: a seed file for the device, a key-ring entry for the auditor'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "inspect-key" -d 'Show the public key of a seed file, or check a public key'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "sign-record" -d 'Sign a payload as the next record of a chain, and print the record as one line of NDJSON'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "verify-record" -d 'Verify one record: its signature, its payload, and its link to the record before'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "ingest" -d 'Take records from files into a ledger: each is checked, stored with its payload, and answered'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "export" -d 'Export records of a ledger as JSON, NDJSON, Arrow IPC or Parquet, with a manifest beside the file'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "device" -d 'The devices that a ledger takes records of, and their keys'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "log" -d 'Show the decisions of the ingest service, oldest first: accepted, duplicate, rejected and why'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "config" -d 'Look at the settings'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "serve" -d 'Take records in over HTTP until SIGTERM or Ctrl-C'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "push" -d 'Send records to a service on the network: from files, or what waits in an outbox'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "inject" -d 'Attack a running service over the wire, and check that each attack gets the right answer'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "token" -d 'Make a token: the token for its holder, and the entry for the settings, which keep only its hash'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "completions" -d 'Print the completions of a shell'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "drill" -d 'Rehearse a failure on servers of its own, and say whether it went as it must'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "demo" -d 'See it work: sign, ingest, export, verify real telemetry, tamper with copies, see what is caught'
complete -c eds -n "__fish_eds_using_subcommand help; and not __fish_seen_subcommand_from verify-chain heads keygen inspect-key sign-record verify-record ingest export device log config serve push inject token completions drill demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "register" -d 'Register a new device with its first key; makes the ledger where there is none'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "rotate" -d 'Give a device another key, for the records from its next sequence on'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "revoke" -d 'Revoke the keys of a device: what is in the ledger stays valid, nothing more is taken'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "list" -d 'List devices, heads and keys'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from device" -f -a "keys" -d 'Write the key ring of the registry'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Load the settings, open the stores and ask whether they answer; nothing secret is shown'
complete -c eds -n "__fish_eds_using_subcommand help; and __fish_seen_subcommand_from drill" -f -a "list" -d 'Show the drills, when each has passed, and whether what it needs is installed'
