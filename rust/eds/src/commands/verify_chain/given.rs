//! The auditor's inputs, and the manifest.

use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_chain::{Heads, InputKind, KeyRing, ProvidedBy, Providers, Scheme};
use edgesentry_formats::times;
use edgesentry_formats::{Destinations, LogCheck, LogFiles, LogPaths, MaxAge, PayloadFolder, layout_path};
use edgesentry_rs::export::Manifest;

use crate::commands::scheme;
use crate::exit::Failure;
use crate::inputs;
use crate::outputs;

/// Where the inputs of the levels are.
#[derive(Args, Debug)]
pub(super) struct GivenArgs {
    /// Key ring: check the signatures
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme(), hide_possible_values = true, requires = "keys")]
    scheme: Option<Scheme>,
    /// Directory of payloads: verify their hashes
    #[arg(long, value_name = "DIR", conflicts_with = "ledger")]
    payloads: Option<PathBuf>,
    /// Trusted heads, as written by eds heads: detect truncated chains and missing devices
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    /// Start heads: for each chain that does not begin at sequence 1, the head before its first record
    #[arg(long, value_name = "FILE")]
    start_heads: Option<PathBuf>,
    /// Manifest of the export: check its hash and its heads, and use its start heads if you give none. They
    /// are claims, and satisfy no --require
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Checkpoint of the transparency log: the records must be exactly those of the log up to it
    #[arg(long, value_name = "FILE", requires = "policy")]
    checkpoint: Option<PathBuf>,
    /// Policy with the logs, witnesses and quorum that you trust
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    policy: Option<PathBuf>,
    /// Layout of the log, as eds export --log writes it [default: FILE.log beside a single export, if it exists]
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    log_layout: Option<PathBuf>,
    /// Checkpoint of the same log that you kept from earlier: the log must continue it
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    previous: Option<PathBuf>,
    /// Refuse a checkpoint whose witnesses signed it longer ago, such as 90s, 15m, 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = times::parse_seconds, requires = "checkpoint")]
    max_age: Option<u64>,
    /// Time stamp of the checkpoint (RFC 3161, such as FILE.tsr): show before which time it existed; may be repeated
    #[arg(long, value_name = "FILE", num_args = 1.., requires_all = ["checkpoint", "tsa_roots"])]
    timestamps: Vec<PathBuf>,
    /// Certificates in PEM: the roots of the time stamping authorities that you trust
    #[arg(long, value_name = "FILE", requires = "timestamps")]
    tsa_roots: Option<PathBuf>,
}

/// The inputs of the levels.
pub(super) struct Given {
    pub(super) keys: Option<KeyRing>,
    pub(super) payloads: Option<PayloadFolder>,
    pub(super) heads: Option<Heads>,
    pub(super) start_heads: Option<Heads>,
    pub(super) manifest: Option<Manifest>,
    pub(super) log: Option<LogFiles>,
    pub(super) max_age: Option<MaxAge>,
}

impl Given {
    /// Starts the comparison with the checkpoint.
    pub(super) fn log_check(&self) -> Option<LogCheck<'_>> {
        self.log.as_ref().map(|log| log.check(self.max_age))
    }
}

impl GivenArgs {
    /// Reads all inputs of the verification of `files`.
    pub(super) fn read(&self, files: &[PathBuf]) -> Result<Given, Failure> {
        let layout = self.layout(files);
        let paths = self.checkpoint.as_deref().zip(self.policy.as_deref());
        let paths = paths.map(|(checkpoint, policy)| LogPaths {
            checkpoint,
            policy,
            layout: layout.as_deref(),
            is_found: self.log_layout.is_none(),
            previous: self.previous.as_deref(),
            timestamps: &self.timestamps,
            tsa_roots: self.tsa_roots.as_deref(),
        });
        let log = paths.map(|paths| LogFiles::read(&paths)).transpose();
        Ok(Given {
            log: log.map_err(|error| Failure::usage("log_inputs", error.to_string()))?,
            max_age: self.max_age.map(inputs::max_age).transpose()?,
            keys: self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?,
            payloads: self.payloads.as_deref().map(inputs::payloads).transpose()?,
            heads: self.heads.as_deref().map(inputs::heads).transpose()?,
            start_heads: self.start_heads.as_deref().map(inputs::heads).transpose()?,
            manifest: self.manifest.as_deref().map(Manifest::read).transpose()?,
        })
    }

    /// Returns the given layout, or else the one beside the only export.
    fn layout(&self, files: &[PathBuf]) -> Option<PathBuf> {
        let beside = || match files {
            [file] if !inputs::is_stdin(file) => Some(layout_path(file)).filter(|path| path.is_file()),
            _ => None,
        };
        self.checkpoint.as_ref().and_then(|_| self.log_layout.clone().or_else(beside))
    }

    /// Registers the files as inputs.
    pub(super) fn read_by(&self, files: &[PathBuf], destinations: &mut Destinations) {
        outputs::read(
            destinations,
            [
                ("the key ring", self.keys.as_ref()),
                ("heads", self.heads.as_ref()),
                ("start heads", self.start_heads.as_ref()),
                ("the manifest", self.manifest.as_ref()),
                ("the checkpoint", self.checkpoint.as_ref()),
                ("the policy", self.policy.as_ref()),
                ("the layout of the log", self.layout(files).as_ref()),
                ("the earlier checkpoint", self.previous.as_ref()),
                ("the roots of authorities", self.tsa_roots.as_ref()),
            ],
        );
        for stamp in &self.timestamps {
            destinations.read("a time stamp", stamp);
        }
        if let Some(payloads) = &self.payloads {
            destinations.read_folder("payloads", payloads);
        }
    }

    /// Returns the providers of the inputs.
    pub(super) fn providers(&self) -> Providers {
        let mut providers = Providers::new();
        let mut add = |kind, by, is_given: bool| {
            if is_given {
                providers.entry(kind).or_default().insert(by);
            }
        };
        add(InputKind::Keys, ProvidedBy::Auditor, self.keys.is_some());
        add(InputKind::Payloads, ProvidedBy::Auditor, self.payloads.is_some());
        add(InputKind::Heads, ProvidedBy::Auditor, self.heads.is_some());
        add(InputKind::Heads, ProvidedBy::Manifest, self.manifest.is_some());
        add(InputKind::Policy, ProvidedBy::Auditor, self.policy.is_some());
        providers
    }

    /// Returns the file that the manifest describes.
    pub(super) fn described<'f>(&self, files: &'f [PathBuf]) -> Result<Option<&'f Path>, Failure> {
        if self.manifest.is_none() || files.is_empty() {
            return Ok(None);
        }
        let [file] = files else {
            return Err(Failure::usage("usage", "--manifest describes one file; pass only that file"));
        };
        if inputs::is_stdin(file) {
            return Err(Failure::usage("usage", "--manifest describes a file, not stdin (-)"));
        }
        Ok(Some(file))
    }
}
