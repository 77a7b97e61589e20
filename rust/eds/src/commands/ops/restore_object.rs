//! `eds ops restore-object`: payloads back from their versions.

use std::sync::Arc;

use clap::Args;
use edgesentry_chain::AuditRecord;
use edgesentry_ops::s3::{Restored, State, restore};
use edgesentry_rs::Filter;
use edgesentry_rs::payload::S3;
use edgesentry_rs::settings::Access;
use futures::TryStreamExt;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::{Answer, Output};
use crate::stores::StoreArgs;
use crate::text::{count, name, sentence};

/// Bring payloads back that were deleted or overwritten in S3, byte-identical, from their versions
///
/// Of all versions the one is taken whose BLAKE3 is the payload hash of the record, and put on top; nothing is deleted or
/// overwritten. Nothing is changed without --apply. Exit code 0 if every payload is intact or restored, 1 if one is lost,
/// 3 if one is still to be restored.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ops restore-object lift-01 --ledger postgres://db/audit --payloads s3://audit-payloads
  eds ops restore-object lift-01 --from 17 --to 17 --apply")]
pub(super) struct RestoreObject {
    /// The device
    #[arg(value_name = "DEVICE")]
    device: String,
    /// The lowest sequence
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// The highest sequence
    #[arg(long, value_name = "SEQUENCE")]
    to: Option<u64>,
    /// Do it
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    stores: StoreArgs,
}

impl RestoreObject {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let opened = self.stores.open(Access::Read)?;
        let bucket = opened.settings.payloads.as_deref().and_then(|url| url.strip_prefix("s3://"));
        let Some(bucket) = bucket else {
            return Err(Failure::usage("config", "payloads: versions are kept in S3 only; name s3://BUCKET"));
        };
        super::super::known_devices(&opened, std::slice::from_ref(&self.device))?;
        let store = Arc::new(opened.wait(S3::connect(bucket.trim_end_matches('/'), &opened.settings.s3))?);
        let filter = Filter {
            devices: vec![self.device.clone()],
            from_sequence: self.from,
            to_sequence: self.to,
            ..Filter::default()
        };
        let work = async {
            let mut looked_at = Vec::new();
            let mut records = opened.ledger.records(&filter);
            while let Some(chunk) = records.try_next().await.map_err(Failure::from)? {
                for record in chunk {
                    let record: AuditRecord = record;
                    looked_at.push(restore(&store, &record, self.apply).await?);
                }
            }
            Ok::<_, Failure>(looked_at)
        };
        let answer = opened.runtime.block_on(interrupt::unless_asked(work));
        let interrupted = || Failure::interrupted("interrupted: what was restored until now stays restored");
        let looked_at = answer.ok_or_else(interrupted)??;
        self.conclude(&looked_at, output)
    }

    fn conclude(&self, looked_at: &[Restored], output: &Output) -> Result<Exit, Failure> {
        if looked_at.is_empty() {
            let message = format!("device {:?} has no record there, so nothing was looked at", self.device);
            return Err(Failure::unfinished("nothing_to_restore", message));
        }
        let of = |state| looked_at.iter().filter(|restored| restored.state == state).count() as u64;
        let mut text = String::new();
        for restored in looked_at.iter().filter(|restored| restored.state != State::Intact) {
            let state = match restored.state {
                State::Intact => "intact",
                State::Restorable => "restorable",
                State::Restored => "restored",
                State::Lost => "lost",
            };
            text.push_str(&format!(
                "{state:<10}  {} {}  {}\n            {}\n",
                name(&restored.device_id),
                restored.sequence,
                name(&restored.object_ref),
                sentence(&restored.evidence)
            ));
        }
        text.push_str(&format!(
            "{}: {} intact, {} restorable, {} restored, {} lost\n",
            count(looked_at.len() as u64, "payload"),
            of(State::Intact),
            of(State::Restorable),
            of(State::Restored),
            of(State::Lost)
        ));
        let exit = match () {
            () if of(State::Lost) > 0 => Exit::Findings,
            () if of(State::Restorable) > 0 => {
                text.push_str("nothing was changed; --apply restores\n");
                Exit::Unfinished
            }
            () => Exit::Holds,
        };
        let damaged: Vec<&Restored> =
            looked_at.iter().filter(|restored| restored.state != State::Intact).collect();
        let content = json!({"looked_at": looked_at.len(), "intact": of(State::Intact), "damaged": damaged});
        output.answer(&Answer {
            ok: exit == Exit::Holds,
            name: "payloads",
            content: &content,
            text,
            failure: None,
        })?;
        Ok(exit)
    }
}
