//! The bottom of the page: inputs with their hashes, heads, and how to repeat the verification.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use edgesentry_chain::{Hash, Input, InputKind, ProvidedBy, Report, Scheme};
use maud::{Markup, html};
use sha2::{Digest, Sha256};

use crate::page::Circumstances;
use crate::text::{count, name, number, shell_bytes, shell_word};

/// The number of heads that are listed.
const MAX_HEADS: usize = 200;

/// Renders the inputs, with the hashes by which another auditor can compare the files.
pub(super) fn inputs(report: &Report) -> Markup {
    html! {
        section #inputs aria-labelledby="inputs-title" {
            h2 #inputs-title { "Inputs" }
            div .scroll {
                table .inputs {
                    thead {
                        tr {
                            th scope="col" { "Name" }
                            th scope="col" { "Format" }
                            th scope="col" .figure { "Entries" }
                            th scope="col" .figure { "Bytes" }
                        }
                    }
                    @for input in &report.inputs {
                        tbody {
                            tr {
                                th scope="row" { bdi { (name(&input.name)) } }
                                td { (input.format) }
                                td .figure { (number(input.entries)) }
                                td .figure { @match input.bytes { Some(bytes) => { (number(bytes)) } None => { "–" } } }
                            }
                            tr {
                                td colspan="4" {
                                    dl .evidence {
                                        @match fingerprint(input) {
                                            Ok(Fingerprint { sha256, blake3 }) => {
                                                dt { "SHA-256" } dd { (hex::encode(sha256)) }
                                                dt { "BLAKE3" } dd { (blake3) }
                                            }
                                            Err(why) => { dt { "hash" } dd .why { (why) } }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

struct Fingerprint {
    sha256: [u8; 32],
    blake3: Hash,
}

/// Returns the hashes of a file that is still the verified one; otherwise why there are none.
fn fingerprint(input: &Input) -> Result<Fingerprint, &'static str> {
    let Some(modified) = input.modified else { return Err("none: it was not read from a file") };
    let unchanged = |file: &File| {
        let metadata = file.metadata().ok()?;
        (Some(metadata.len()) == input.bytes && metadata.modified().ok()? == modified).then_some(())
    };
    let changed = "none: the file has changed since it was verified";
    let path = input.path.as_deref().unwrap_or(Path::new(&*input.name));
    let mut file = File::open(path).map_err(|_| "none: the file cannot be opened any more")?;
    unchanged(&file).ok_or(changed)?;
    let fingerprint = hash(&mut file).map_err(|_| "none: the file cannot be read any more")?;
    unchanged(&file).ok_or(changed)?;
    Ok(fingerprint)
}

fn hash(file: &mut File) -> io::Result<Fingerprint> {
    let (mut sha256, mut blake3) = (Sha256::new(), blake3::Hasher::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => {
                sha256.update(&buffer[..read]);
                blake3.update(&buffer[..read]);
            }
        }
    }
    Ok(Fingerprint { sha256: sha256.finalize().into(), blake3: Hash(*blake3.finalize().as_bytes()) })
}

/// Renders the last link of each chain, for use as trusted heads.
pub(super) fn heads(report: &Report) -> Markup {
    html! {
        section #heads aria-labelledby="heads-title" {
            h2 #heads-title { "Heads" }
            p {
                "The last record of each chain, as found. Kept where the writers of the ledger cannot change them, \
                 they "
                "show later whether a chain was cut off or rewritten (" code { "eds heads" } " writes them)."
            }
            details {
                summary { "Show " (count(report.heads.len().min(MAX_HEADS) as u64, "head")) }
                div .scroll {
                    table .heads {
                        thead {
                            tr {
                                th scope="col" { "Device" }
                                th scope="col" .figure { "Sequence" }
                                th scope="col" { "Record hash" }
                            }
                        }
                        tbody {
                            @for (device_id, head) in report.heads.iter().take(MAX_HEADS) {
                                tr {
                                    th scope="row" { bdi { (name(device_id)) } }
                                    td .figure { (number(head.sequence)) }
                                    td { code { (head.hash) } }
                                }
                            }
                        }
                    }
                }
                @if let Some(more) = report.heads.len().checked_sub(MAX_HEADS).filter(|more| *more > 0) {
                    p { "and " (number(more as u64)) " more" }
                }
            }
        }
    }
}

/// Renders the command that makes this report again.
pub(super) fn reproduction(report: &Report, circumstances: &Circumstances) -> Markup {
    html! {
        section #reproduce aria-labelledby="reproduce-title" {
            h2 #reproduce-title { "How to reproduce" }
            p {
                "Compare the hashes of the files with those above (" code { "sha256sum FILE" }
                "), then run EdgeSentry " (env!("CARGO_PKG_VERSION")) " from the same directory. The verdict, the "
                "findings and their order do not depend on the machine or on the number of threads."
            }
            @match &circumstances.command {
                Some(command) => { pre { code { (command) } } }
                None => {
                    pre { code { (command(report, circumstances)) } }
                    p .minor { "Words in capitals stand for arguments of the call: key ring, directory, heads, \
                         checkpoint, policy, manifest." }
                }
            }
        }
    }
}

/// Returns a command with the same inputs and levels, for a report that was made without a command.
fn command(report: &Report, circumstances: &Circumstances) -> String {
    let provided = |kind, by| report.coverage.provided_by.get(&kind).is_some_and(|all| all.contains(&by));
    let brought = |kind| provided(kind, ProvidedBy::Auditor);
    let anything = |by| {
        [InputKind::Keys, InputKind::Heads, InputKind::StartHeads].iter().any(|kind| provided(*kind, by))
    };
    let mut words = vec!["eds verify-chain".to_owned()];
    match &circumstances.ledger {
        Some(devices) => {
            words.push("--ledger".into());
            words.extend(report.inputs.iter().map(|input| shell_word(&input.name)));
            words.extend(devices.iter().map(|device_id| format!("--device {}", shell_word(device_id))));
        }
        None => words.extend(report.inputs.iter().map(file_word)),
    }
    let mut add = |is_given: bool, option: &str| words.extend(is_given.then(|| option.to_owned()));
    add(brought(InputKind::Keys), "--keys KEYS");
    add(brought(InputKind::Keys) && circumstances.scheme == Some(Scheme::Record), "--scheme record");
    add(provided(InputKind::Payloads, ProvidedBy::Ledger), "--payload-store");
    add(brought(InputKind::Payloads), "--payloads DIR");
    add(brought(InputKind::Heads), "--heads HEADS");
    add(brought(InputKind::StartHeads), "--start-heads START_HEADS");
    add(brought(InputKind::Policy), "--checkpoint CHECKPOINT --policy POLICY");
    add(anything(ProvidedBy::Manifest), "--manifest MANIFEST");
    add(anything(ProvidedBy::Ledger), "--registered");
    words.join(" ")
}

/// Quotes an input for a shell, relative to the directory in which it was named.
fn file_word(input: &Input) -> String {
    match (input.modified, &input.path) {
        (None, _) => "EXPORT".into(),
        // The name has lost bytes that are not UTF-8.
        (Some(_), Some(path)) if path.to_str().is_none() => shell_bytes(path.as_os_str()),
        (Some(_), _) => shell_word(&input.name),
    }
}
