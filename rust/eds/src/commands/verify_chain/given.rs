//! The auditor's inputs, and the manifest.

use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_chain::{Heads, InputKind, KeyRing, ProvidedBy, Providers, Scheme};
use edgesentry_formats::{Destinations, PayloadFolder};
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
    /// Scheme of keys without one: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme, requires = "keys")]
    scheme: Option<Scheme>,
    /// Directory of payloads: verify their hashes
    #[arg(long, value_name = "DIR", conflicts_with = "ledger")]
    payloads: Option<PathBuf>,
    /// Trusted heads, as written by eds heads: detect truncated chains and missing devices
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    /// Start heads: the heads after which chains begin that do not begin at sequence 1
    #[arg(long, value_name = "FILE")]
    start_heads: Option<PathBuf>,
    /// Manifest of the export: check its hash and its heads, and use its start heads if you give none. They
    /// are claims, and satisfy no --require
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

/// The inputs of the levels.
pub(super) struct Given {
    pub(super) keys: Option<KeyRing>,
    pub(super) payloads: Option<PayloadFolder>,
    pub(super) heads: Option<Heads>,
    pub(super) start_heads: Option<Heads>,
    pub(super) manifest: Option<Manifest>,
}

impl GivenArgs {
    /// Reads all inputs.
    pub(super) fn read(&self) -> Result<Given, Failure> {
        Ok(Given {
            keys: self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?,
            payloads: self.payloads.as_deref().map(inputs::payloads).transpose()?,
            heads: self.heads.as_deref().map(inputs::heads).transpose()?,
            start_heads: self.start_heads.as_deref().map(inputs::heads).transpose()?,
            manifest: self.manifest.as_deref().map(Manifest::read).transpose()?,
        })
    }

    /// Registers the files as inputs.
    pub(super) fn read_by(&self, destinations: &mut Destinations) {
        outputs::read(
            destinations,
            [
                ("the key ring", self.keys.as_ref()),
                ("heads", self.heads.as_ref()),
                ("start heads", self.start_heads.as_ref()),
                ("the manifest", self.manifest.as_ref()),
            ],
        );
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
