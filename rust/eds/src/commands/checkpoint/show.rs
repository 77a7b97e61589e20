//! `eds checkpoint show`: the published checkpoint of a ledger or of a service.

use std::path::Path;

use edgesentry_formats::Destinations;
use edgesentry_log::{Checkpoint, Note};
use edgesentry_rs::settings::Access;
use serde_json::json;

use crate::commands::{prove, verify_proof};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output, write};
use crate::outputs;
use crate::remote::{RemoteArgs, Service};
use crate::stores::{LedgerArgs, Opened};
use crate::text::{count, name, number};

pub(super) fn show(
    ledger: &LedgerArgs,
    remote: &RemoteArgs,
    policy: Option<&Path>,
    file: Option<&Path>,
    output: &Output,
) -> Result<Exit, Failure> {
    let mut destinations = Destinations::default();
    if let Some(policy) = policy {
        destinations.read("the policy", policy);
    }
    let place = |destinations: &mut Destinations| {
        file.map(|path| Ok::<_, Failure>((path, destinations.place("--output", path)?))).transpose()
    };
    let policy = policy.map(verify_proof::policy).transpose()?;
    let (destination, source, note, checkpoint) = match remote.service()? {
        Some(service) => {
            remote.read_files(&mut destinations);
            let destination = place(&mut destinations)?;
            let (note, checkpoint) = of_service(&service)?;
            (destination, service.place().to_owned(), note, checkpoint)
        }
        None => {
            let opened = ledger.open(Access::Read)?;
            ledger.read(&opened, &mut destinations);
            let destination = place(&mut destinations)?;
            let (note, checkpoint) = of_ledger(&opened)?;
            (destination, opened.ledger.place().to_owned(), note, checkpoint)
        }
    };
    let trusted = policy.as_ref().map(|policy| policy.evaluate(&note)).transpose().map_err(|error| {
        let message = format!("{source}: {error}; no checkpoint was written");
        Failure { code: error.code(), message, exit: Exit::Findings }
    })?;
    if let Some(trusted) = &trusted {
        let cosignatures = count(trusted.cosigned().len() as u64, "trusted cosignature");
        output.note(&format!(
            "{}: the policy trusts the checkpoint of size {}, with {cosignatures}",
            name(checkpoint.origin()),
            number(checkpoint.size())
        ));
    }
    match &destination {
        Some((path, destination)) => outputs::save(destination, path, &note.to_string())?,
        None if !output.json => {
            write(&note.to_string())?;
            return Ok(Exit::Holds);
        }
        None => {}
    }
    let path = file.map(|path| path.display().to_string());
    let content = json!({
        "origin": checkpoint.origin(),
        "size": checkpoint.size(),
        "root": checkpoint.root().to_string(),
        "checkpoint": note.to_string(),
        "file": path,
        "trusted": trusted.is_some(),
    });
    let text = format!(
        "{}: checkpoint of {} at size {}\n",
        name(path.as_deref().unwrap_or_default()),
        name(checkpoint.origin()),
        number(checkpoint.size())
    );
    output.answer(&Answer { ok: true, name: "checkpoint", content: &content, text, failure: None })?;
    Ok(Exit::Holds)
}

fn of_ledger(opened: &Opened) -> Result<(Note, Checkpoint), Failure> {
    let settings = &opened.settings;
    let file = settings.ledger_file();
    let log = opened.wait(settings.log.open_reader(&*opened.ledger, file.as_deref(), &settings.s3))?;
    let published =
        opened.runtime.block_on(log.published_at(None)).map_err(|error| prove::failure(&error))?;
    Ok((published.note, published.checkpoint))
}

/// The service is not trusted: only a checkpoint is written.
fn of_service(service: &Service) -> Result<(Note, Checkpoint), Failure> {
    let text = service.text("log/checkpoint", &[])?;
    let strange = |error: &dyn std::fmt::Display| {
        let message =
            format!("{}: the response to log/checkpoint is not a checkpoint: {error}", service.place());
        Failure::unfinished("service", message)
    };
    let note = Note::parse(text.as_bytes()).map_err(|error| strange(&error))?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| strange(&error))?;
    Ok((note, checkpoint))
}
