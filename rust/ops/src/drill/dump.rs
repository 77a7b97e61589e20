//! The dump of the drill `db-restore`: taken before the incident, and restored into a database of its own.

use std::sync::Arc;

use edgesentry_chain::{Heads, KeyRing};

use super::DrillReport;
use super::log::DrillLog;
use super::site::{RestoredServer, Site};
use crate::blocking::in_place;
use crate::check::Check;
use crate::dump::{self, Dump, RestoreDump};
use crate::error::Error;
use crate::observe::ignore;
use crate::postgres::Sql;
use crate::recovery::{self, Recovery, RestoredLog, Silences};
use crate::source::Source;

/// The database, on the restored server.
const DATABASE: &str = "from_dump";

/// Takes a dump of the ledger.
pub(super) async fn take(site: &Site, report: &mut DrillReport) -> Result<Dump, Error> {
    let source = Source::connect(&site.settings).await?;
    let dump = dump::dump(&site.archive, &source, &ignore).await?;
    report.step(format!("dump {}, {} entries", dump.id, dump.entries));
    Ok(dump)
}

/// Restores a dump beside the restored backup, and makes the same checks.
pub(super) async fn restore(
    site: &Site,
    dump: &Dump,
    server: &RestoredServer,
    (heads, keys, log): (Heads, KeyRing, &DrillLog),
    report: &mut DrillReport,
) -> Result<(), Error> {
    let sql = Sql::new(site.primary.programs(), server.url())?;
    in_place(|| sql.query(&format!("CREATE DATABASE {DATABASE}")))?;
    let database = server.database(DATABASE)?;
    let wanted = RestoreDump { dump: Some(dump.id.clone()), into: database.url().to_owned() };
    let restored = dump::restore_dump(&site.settings, &site.archive, &wanted, &ignore).await?;
    report.step(format!("dump {} is restored into a database of its own", restored.dump));
    report.measure("dump_restore_seconds", restored.seconds, None);
    let ledger = database.ledger().await?;
    let recovery = Recovery {
        ledger: Arc::clone(&ledger),
        payloads: Some(Arc::clone(&site.payloads)),
        heads: Some(heads),
        keys: Some(keys),
        start_heads: None,
        target_ms: None,
        log: RestoredLog::OfDrill,
        silences: Silences::OfDrill,
    };
    for check in recovery::verify(&recovery, &Arc::default()).await {
        report.check(Check { name: format!("from the dump: {}", check.name), ..check });
    }
    let recovered = log.recover_dump(&*ledger, report).await;
    ledger.close().await;
    recovered
}
