//! The evidence bundle of the demo: one chain with its payloads, beside the programs that verify it.

use std::path::PathBuf;
use std::sync::Arc;

use edgesentry_chain::{KeyRing, Report};
use edgesentry_formats::times::now_ms;
use edgesentry_formats::{BundleInputs, Destination, Options, Progress, Source, describe, verify_bundle};
use edgesentry_log::{BundleScope, Policy};
use edgesentry_rs::log::{BUNDLE_TEXTS, BundleContent};
use serde_json::{Value, json};

use super::folder::{DemoFolder, write as write_file};
use crate::commands::bundle::page;
use crate::exit::Failure;
use crate::fleet::WATER;
use crate::stores::Opened;

/// The bundle, verified with the files of the auditor.
pub(super) struct Bundle {
    file: PathBuf,
    report: Report,
}

impl Bundle {
    pub(super) fn is_valid(&self) -> bool {
        self.report.ok()
    }

    pub(super) fn content(&self) -> Value {
        json!({
            "file": self.file.display().to_string(),
            "verdict": self.report.verdict,
            "records": self.report.coverage.records,
        })
    }
}

/// Writes the bundle of one chain, the verifiers, and a page with the bundle in it.
pub(super) fn write(
    opened: &Opened,
    keys: &KeyRing,
    policy: &Policy,
    folder: &DemoFolder,
) -> Result<Bundle, Failure> {
    let settings = &opened.settings;
    let ledger_file = settings.ledger_file();
    let log = opened.wait(settings.log.open_reader(&*opened.ledger, ledger_file.as_deref(), &settings.s3))?;
    let payloads = opened.payloads()?;
    let claimed = policy.to_string();
    let content = BundleContent {
        scope: &BundleScope::Devices(vec![WATER.to_owned()]),
        since: None,
        payloads: Some(&*payloads),
        keys: Some(keys),
        policy: Some(claimed.as_bytes()),
        stamped: false,
        tsa_certificates: None,
    };
    let file = folder.of_bundle("case.tar");
    let destination = Destination::of("--dir", &file)?;
    let written = opened.runtime.block_on(log.write_bundle(&content, &destination, now_ms(), &|_| {}));
    written.map_err(|error| Failure::unfinished("demo", describe(&error)))?;
    for (name, text) in BUNDLE_TEXTS {
        write_file(&folder.of_bundle(name), text)?;
    }
    let path = folder.of_bundle("case.html");
    page::write(&file, &Destination::of("--dir", &path)?, &path)?;

    let inputs = BundleInputs { policy: Some(policy), keys: Some(keys), ..BundleInputs::default() };
    let (source, progress) = (Source::Path(file.clone()), Arc::new(Progress::default()));
    let report = verify_bundle(source, &inputs, &Options::default(), &progress)?;
    Ok(Bundle { file, report })
}
