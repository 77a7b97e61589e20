//! The bucket of payloads or of the archive, as an option of the bucket commands.

use clap::Args;
use edgesentry_ops::s3::{Bucket, Holds};

use super::session::Session;
use crate::exit::Failure;
use crate::stores::ConfigFile;

/// A bucket, and the S3 of the settings.
#[derive(Args, Debug)]
pub(super) struct BucketArgs {
    /// The bucket [default: that of payloads in the settings, with --archive that of ops.archive]
    #[arg(value_name = "s3://BUCKET")]
    bucket: Option<String>,
    /// The bucket holds the archive: its lifecycle deletes versions that were deleted or replaced, and it has other roles
    #[arg(long)]
    archive: bool,
    #[command(flatten)]
    file: ConfigFile,
}

impl BucketArgs {
    pub(super) fn holds(&self) -> Holds {
        if self.archive { Holds::Archive } else { Holds::Payloads }
    }

    pub(super) fn open(&self) -> Result<(Session, Bucket), Failure> {
        let session = Session::new(&self.file)?;
        let settings = &session.settings;
        let (setting, set, s3) = match self.holds() {
            Holds::Payloads => ("payloads", settings.stores.payloads.as_ref(), &settings.stores.s3),
            Holds::Archive => {
                let s3 = settings.ops.s3.as_ref().unwrap_or(&settings.stores.s3);
                ("ops.archive", settings.ops.archive.as_ref(), s3)
            }
        };
        // The archive has a prefix in its bucket.
        let set = set.map(|url| match url.strip_prefix("s3://").and_then(|rest| rest.split_once('/')) {
            Some((bucket, _)) if self.archive => format!("s3://{bucket}"),
            _ => url.clone(),
        });
        let named = self.bucket.as_ref().or(set.as_ref());
        let name = named.and_then(|url| url.strip_prefix("s3://")).map(|name| name.trim_end_matches('/'));
        let Some(name) = name else {
            let message = match named {
                None => format!("no bucket was given; pass s3://BUCKET, or set {setting} to it"),
                Some(other) => format!("expected s3://BUCKET, got {other:?}"),
            };
            return Err(Failure::usage("config", message));
        };
        let bucket = session.run(Bucket::new(name, s3))?;
        Ok((session, bucket))
    }
}
