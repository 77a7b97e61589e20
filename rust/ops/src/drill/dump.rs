//! The dump of the drill `db-restore`: taken before the incident, and restored into a database of its own.

use std::sync::Arc;

use edgesentry_chain::{Heads, KeyRing};

use super::DrillReport;
use super::failover::blocking;
use super::site::{RestoredServer, Site};
use crate::check::Check;
use crate::dump::{self, Dump, RestoreDump};
use crate::error::Error;
use crate::observe::nobody;
use crate::postgres::Sql;
use crate::recovery::{self, Recovery, Silences};
use crate::source::Source;

/// The database, on the restored server.
const DATABASE: &str = "from_dump";

/// Takes a dump of the ledger.
pub(super) async fn take(site: &Site, report: &mut DrillReport) -> Result<Dump, Error> {
    let source = Source::connect(&site.settings).await?;
    let dump = dump::dump(&site.archive, &source, &nobody).await?;
    report.step(format!("dump {}, {} entries", dump.id, dump.entries));
    Ok(dump)
}

/// Restores a dump beside the restored backup, and makes the same checks.
pub(super) async fn restore(
    site: &Site,
    dump: &Dump,
    server: &RestoredServer,
    (heads, keys): (Heads, KeyRing),
    report: &mut DrillReport,
) -> Result<(), Error> {
    let sql = Sql::new(site.primary.programs(), server.url())?;
    blocking(|| sql.query(&format!("CREATE DATABASE {DATABASE}")))?;
    let database = server.database(DATABASE)?;
    let wanted = RestoreDump { dump: Some(dump.id.clone()), into: database.url().to_owned() };
    let restored = dump::restore_dump(&site.settings, &site.archive, &wanted, &nobody).await?;
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
        silences: Silences::OfDrill,
    };
    let checks = recovery::verify(&recovery, &Arc::default()).await;
    ledger.close().await;
    for check in checks {
        report.check(Check { name: format!("from the dump: {}", check.name), ..check });
    }
    Ok(())
}
