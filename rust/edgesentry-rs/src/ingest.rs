//! Ingesting records: [`verify`] decides, [`storage`] keeps.

mod chains;
mod commit;
mod group;
mod keys;
mod limits;
mod outcomes;
mod puts;
pub mod retention;
pub mod storage;
pub mod verify;

use async_trait::async_trait;
use edgesentry_device::Sink;

use crate::admission::{Outcome, Submission};
use crate::error::Error;
use storage::IngestService;

#[async_trait]
impl Sink for IngestService {
    async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        self.ingest_many(submissions).await
    }
}
