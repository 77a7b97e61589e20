//! The bucket of payloads, as the commands about it name it.

use clap::Args;
use edgesentry_ops::s3::Bucket;

use super::session::Session;
use crate::exit::Failure;
use crate::stores::ConfigFile;

/// A bucket, and the S3 of the settings.
#[derive(Args, Debug)]
pub(super) struct BucketArgs {
    /// The bucket of payloads [default: that of payloads in the settings]
    #[arg(value_name = "s3://BUCKET")]
    bucket: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

impl BucketArgs {
    pub(super) fn open(&self) -> Result<(Session, Bucket), Failure> {
        let session = Session::new(&self.file)?;
        let named = self.bucket.as_ref().or(session.settings.payloads.as_ref());
        let name = named.and_then(|url| url.strip_prefix("s3://")).map(|name| name.trim_end_matches('/'));
        let Some(name) = name else {
            let message = match named {
                None => "no bucket is named; name s3://BUCKET, or set payloads to it".to_owned(),
                Some(other) => format!("a bucket is named as s3://BUCKET, not {other:?}"),
            };
            return Err(Failure::usage("config", message));
        };
        let bucket = session.run(Bucket::new(name, &session.settings.s3))?;
        Ok((session, bucket))
    }
}
