//! The settings of a PostgreSQL server that is backed up: what they are, what they should be, and changing them.

use serde::Serialize;

use crate::error::Error;
use crate::observe::blocking;
use crate::postgres::Sql;
use crate::restore::RestoreCommand;

/// What a server is wanted to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// How it archives.
    pub command: RestoreCommand,
    /// Seconds after which a segment is archived that is not full: what is lost at most without a receiver.
    pub archive_timeout_seconds: u32,
    /// The `application_name`s of standbys; a commit waits for the first of them that is there. Empty for none.
    pub synchronous: Vec<String>,
}

/// One setting.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub is: String,
    /// What it should be.
    pub should_be: String,
    /// Whether it holds only after a restart.
    pub needs_restart: bool,
    /// What it is for.
    pub why: &'static str,
}

impl Setting {
    /// Whether it is to be changed.
    pub fn differs(&self) -> bool {
        self.is != self.should_be
    }

    /// The statement that changes it.
    pub fn statement(&self) -> String {
        format!("ALTER SYSTEM SET {} = '{}'", self.name, self.should_be.replace('\'', "''"))
    }
}

/// Asks a server for its settings and compares them.
pub async fn compare(sql: &Sql, wanted: &Wanted) -> Result<Vec<Setting>, Error> {
    let mut settings = Vec::new();
    for (name, should_be, needs_restart, why) in wanted.settings() {
        let asked = sql.clone();
        let is = blocking(move || asked.query(&format!("SELECT current_setting('{name}')"))).await?;
        // What allows more is right as well.
        let enough = match name {
            "wal_level" => is == "logical",
            "archive_mode" => is == "always",
            "max_wal_senders" | "max_replication_slots" => {
                is.parse::<u32>().ok() >= should_be.parse::<u32>().ok()
            }
            "synchronous_commit" => is == "remote_apply",
            _ => false,
        };
        let is_seconds = name == "archive_timeout" && seconds(&is) == seconds(&should_be);
        let should_be = if enough || is_seconds { is.clone() } else { should_be };
        settings.push(Setting { name, is, should_be, needs_restart, why });
    }
    Ok(settings)
}

/// Changes what differs, and reloads the settings of the server. Some hold only after a restart, which is not done.
pub async fn apply(sql: &Sql, settings: &[Setting]) -> Result<(), Error> {
    let changes = settings.iter().filter(|setting| setting.differs());
    let statements = changes.map(Setting::statement).chain(["SELECT pg_reload_conf()".to_owned()]);
    for statement in statements {
        let sql = sql.clone();
        blocking(move || sql.query(&statement)).await?;
    }
    Ok(())
}

impl Wanted {
    fn settings(&self) -> Vec<(&'static str, String, bool, &'static str)> {
        let names: Vec<String> = self.synchronous.iter().map(|name| format!("\"{name}\"")).collect();
        let synchronous =
            if names.is_empty() { String::new() } else { format!("FIRST 1 ({})", names.join(", ")) };
        vec![
            ("wal_level", "replica".into(), true, "base backups and standbys need it"),
            ("archive_mode", "on".into(), true, "segments are archived"),
            (
                "archive_command",
                self.command.archive(),
                false,
                "by this program, which never overwrites and never loses",
            ),
            (
                "archive_timeout",
                format!("{}", self.archive_timeout_seconds),
                false,
                "a segment that is not full is archived after so many seconds",
            ),
            ("max_wal_senders", "10".into(), true, "backups, receivers and standbys at once"),
            (
                "max_replication_slots",
                "10".into(),
                true,
                "write-ahead log is kept for receivers and standbys",
            ),
            ("synchronous_commit", "on".into(), false, "a commit is answered when it is on the disk"),
            ("synchronous_standby_names", synchronous, false, "a commit waits for one of these standbys"),
        ]
    }
}

/// `1min` and `60` are the same.
fn seconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "" | "s" => Some(number),
        "min" => Some(number * 60),
        "h" => Some(number * 3600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_sixty_seconds() {
        assert_eq!(seconds("1min"), seconds("60"));
        assert_eq!(seconds("5min"), Some(300));
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds("x"), None);
    }
}
