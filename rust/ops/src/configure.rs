//! The settings of a PostgreSQL server that is backed up: the current values, the expected values, and changing them.

use std::time::Duration;

use serde::Serialize;

use crate::blocking::blocking;
use crate::check::Status;
use crate::error::Error;
use crate::postgres::Sql;
use crate::restore::RestoreCommand;

/// The timeout of the trial: an archive that does not respond is tried again for a while.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(180);

/// The requested configuration of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The command with which the server archives.
    pub command: RestoreCommand,
    /// Seconds after which an incomplete segment is archived: the RPO without a receiver. None keeps the current
    /// value if it is short enough.
    pub archive_timeout_seconds: Option<u32>,
    /// The standbys that commits wait for.
    pub synchronous: Synchronous,
    /// Replace another archiver.
    pub replaces_archiver: bool,
    /// Allow commits to wait for fewer standbys than now.
    pub weakens_durability: bool,
}

/// The standbys that commits wait for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Synchronous {
    /// The current ones.
    Unchanged,
    /// None.
    NoStandby,
    /// The first connected one of these `application_name`s.
    First(Vec<String>),
}

/// A setting.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Setting {
    /// The name.
    pub name: &'static str,
    /// The current value.
    pub is: String,
    /// The expected value.
    pub should_be: String,
    /// Whether the change needs a restart.
    pub needs_restart: bool,
    /// The purpose.
    pub why: &'static str,
    /// Why the change needs an explicit option, and which one.
    pub refused: Option<&'static str>,
}

impl Setting {
    /// Returns true if the setting must change.
    pub fn differs(&self) -> bool {
        self.is != self.should_be
    }

    /// Returns the statement that changes it.
    pub fn statement(&self) -> String {
        format!("ALTER SYSTEM SET {} = '{}'", self.name, self.should_be.replace('\'', "''"))
    }
}

/// Reads the settings of a server and compares them.
///
/// # Errors
/// The server cannot be queried.
pub async fn compare(sql: &Sql, wanted: &Wanted) -> Result<Vec<Setting>, Error> {
    let mut settings = Vec::new();
    for Rule { name, needs_restart, why, .. } in RULES {
        let asked = sql.clone();
        // The raw value: PostgreSQL shows archive_command as `(disabled)` while archive_mode is off.
        let is = blocking(move || {
            asked.query(&format!("SELECT {} FROM pg_settings WHERE name = '{name}'", raw(name)))
        });
        let is = is.await?;
        let should_be = wanted.value(name, &is);
        let refused = wanted.refusal(name, &is).filter(|_| is != should_be);
        settings.push(Setting { name, is, should_be, needs_restart, why, refused });
    }
    Ok(settings)
}

/// Returns the SQL expression for a value.
fn raw(name: &str) -> String {
    if name == "archive_command" {
        "coalesce(reset_val, '')".to_owned()
    } else {
        format!("current_setting('{name}')")
    }
}

/// Changes the settings that differ, and reloads the server. It does not restart the server, which some settings
/// need. If a change is rejected, nothing is changed.
///
/// # Errors
/// A change needs an explicit option, or the server refuses a statement.
pub async fn apply(sql: &Sql, settings: &[Setting]) -> Result<(), Error> {
    if let Some((setting, refused)) = settings.iter().find_map(|one| Some((one, one.refused?))) {
        return Err(Error::Config(format!("{}: {refused}; nothing was changed", setting.name)));
    }
    let changes = settings.iter().filter(|setting| setting.differs());
    let statements = changes.map(Setting::statement).chain(["SELECT pg_reload_conf()".to_owned()]);
    for statement in statements {
        let sql = sql.clone();
        blocking(move || sql.query(&statement)).await?;
    }
    Ok(())
}

/// A rule for one setting.
struct Rule {
    name: &'static str,
    needs_restart: bool,
    why: &'static str,
}

const fn rule(name: &'static str, needs_restart: bool, why: &'static str) -> Rule {
    Rule { name, needs_restart, why }
}

const RULES: [Rule; 11] = [
    rule("wal_level", true, "base backups and standbys need it"),
    rule("archive_mode", true, "segments are archived"),
    rule("archive_library", false, "a library would archive instead of archive_command"),
    rule("archive_command", false, "by this program, which never overwrites or loses a segment"),
    rule("archive_timeout", false, "an incomplete segment is archived after this many seconds"),
    rule("max_wal_senders", true, "backups, receivers and standbys at once"),
    rule("max_replication_slots", true, "write-ahead log is kept for receivers and standbys"),
    rule("fsync", false, "writes are on the disk"),
    rule("full_page_writes", false, "a page that a crash left half written is repaired"),
    rule("synchronous_commit", false, "a commit returns when it is on the disk"),
    rule("synchronous_standby_names", false, "a commit waits for one of these standbys"),
];

/// The default of `archive_timeout`, seconds.
const TIMEOUT_SECONDS: u32 = 60;

const OTHER_ARCHIVER: &str = "another archiver is set up, and its backups would end here; to replace it, pass \
     --replace-archiver";
const FEWER_STANDBYS: &str = "commits would wait for fewer standbys, and be lost with fewer servers; to allow that, \
     pass --weaken-durability";

impl Wanted {
    /// Returns the expected value; the current one if it suffices or no other was requested.
    fn value(&self, name: &str, is: &str) -> String {
        let at_least = |number: u32| match is.parse::<u32>() {
            Ok(is) if is >= number => is.to_string(),
            _ => number.to_string(),
        };
        match name {
            "wal_level" if is != "logical" => "replica".to_owned(),
            "archive_mode" if is != "always" => "on".to_owned(),
            "archive_library" => String::new(),
            "archive_command" => self.command.archive(),
            "archive_timeout" => match (self.archive_timeout_seconds, seconds(is)) {
                (Some(asked), Some(now)) if now == u64::from(asked) => is.to_owned(),
                (Some(asked), _) => asked.to_string(),
                (None, Some(now)) if (1..=u64::from(TIMEOUT_SECONDS)).contains(&now) => is.to_owned(),
                (None, _) => TIMEOUT_SECONDS.to_string(),
            },
            "max_wal_senders" | "max_replication_slots" => at_least(10),
            "fsync" | "full_page_writes" => "on".to_owned(),
            "synchronous_commit" if is != "remote_apply" => "on".to_owned(),
            "synchronous_standby_names" => match &self.synchronous {
                Synchronous::Unchanged => is.to_owned(),
                Synchronous::NoStandby => String::new(),
                Synchronous::First(names) => {
                    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
                    format!("FIRST 1 ({})", names.join(", "))
                }
            },
            _ => is.to_owned(),
        }
    }

    /// Returns why a change of a setting needs an explicit option.
    fn refusal(&self, name: &str, is: &str) -> Option<&'static str> {
        match name {
            "archive_library" if !self.replaces_archiver => Some(OTHER_ARCHIVER),
            "archive_command" if !self.replaces_archiver && is_other_archiver(is) => Some(OTHER_ARCHIVER),
            "synchronous_standby_names" if !self.weakens_durability => {
                let after = if self.synchronous == Synchronous::NoStandby { 0 } else { 1 };
                (after < standbys_waited_for(is)).then_some(FEWER_STANDBYS)
            }
            _ => None,
        }
    }
}

/// Returns true if an `archive_command` archives with another program.
fn is_other_archiver(command: &str) -> bool {
    let command = command.trim();
    let does_nothing = ["", "(disabled)", "true", "/bin/true", "/usr/bin/true", ":"].contains(&command);
    // A command that runs this program and another one counts as another archiver.
    let is_list = command.contains(['&', '|', ';', '`', '\n']) || command.contains("$(");
    !does_nothing && (is_list || !command.contains(" ops archive-wal "))
}

/// Returns how many standbys a commit waits for: `FIRST 2 (a, b)`, `ANY 2 (a, b)`, `2 (a, b)`, or `a, b` for one.
fn standbys_waited_for(names: &str) -> u32 {
    let mut words = names.split(|c: char| c.is_whitespace() || c == '(').filter(|word| !word.is_empty());
    match words.next() {
        None => 0,
        Some(first)
            if ["first", "any"].contains(&first.to_ascii_lowercase().as_str()) && names.contains('(') =>
        {
            words.next().and_then(|number| number.parse().ok()).unwrap_or(1)
        }
        Some(first) if names.contains('(') => first.parse().unwrap_or(1),
        Some(_) => 1,
    }
}

/// The result of running the `archive_command` on the server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Trial {
    /// Passed, failed, or unknown if the server does not permit the trial.
    pub status: Status,
    /// The output.
    pub evidence: String,
}

impl Trial {
    /// Returns an error if the trial failed: PostgreSQL would keep every segment until its disk is full.
    ///
    /// # Errors
    /// The trial failed.
    pub fn must_not_fail(&self) -> Result<(), Error> {
        if self.status != Status::Failed {
            return Ok(());
        }
        Err(Error::Config(format!(
            "archive_command does not work as the user of the server, so nothing was changed: {}",
            self.evidence
        )))
    }
}

/// Makes the server run `archive-wal --check` as it would run the `archive_command`: as its user, on its machine,
/// with its environment, by `COPY ... FROM PROGRAM` into a temporary table.
///
/// # Errors
/// `psql` cannot be run. A server that does not run the command is a trial of unknown status.
pub async fn try_archiving(sql: &Sql, command: &RestoreCommand) -> Result<Trial, Error> {
    let program = format!("{} 2>&1; echo exit code $?", command.archive_check()).replace('\'', "''");
    // No message contains these separators, so that every line is one value. Commits may wait for a standby that is
    // away.
    let statements = format!(
        "SET synchronous_commit = local;\n\
         CREATE TEMPORARY TABLE edgesentry_trial (line text);\n\
         COPY edgesentry_trial FROM PROGRAM '{program}' WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02');\n\
         SELECT string_agg(line, ' ') FROM edgesentry_trial"
    );
    let sql = sql.clone();
    let said = match blocking(move || sql.query_within(&statements, TRIAL_TIMEOUT)).await {
        Ok(said) => said,
        Err(Error::Server { problem, .. }) => {
            return Ok(Trial {
                status: Status::Unknown,
                evidence: format!("the server did not run it: {problem}"),
            });
        }
        Err(error) => return Err(error),
    };
    let (said, code) = said.rsplit_once("exit code ").unwrap_or((&said, ""));
    let (status, evidence) = match code.trim() {
        "0" => (Status::Passed, "it reaches the archive and may write there".to_owned()),
        _ => (Status::Failed, said.trim().trim_start_matches("error: ").to_owned()),
    };
    Ok(Trial { status, evidence })
}

/// Parses seconds: `1min` and `60` are the same.
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

    fn wanted(synchronous: Synchronous) -> Wanted {
        let command = RestoreCommand { eds: "/usr/bin/eds".into(), config: None, allow_unsigned: false };
        Wanted {
            command,
            archive_timeout_seconds: None,
            synchronous,
            replaces_archiver: false,
            weakens_durability: false,
        }
    }

    #[test]
    fn only_requested_settings_are_changed() {
        let quiet = wanted(Synchronous::Unchanged);
        for (name, enough) in [
            ("wal_level", "logical"),
            ("archive_mode", "always"),
            ("archive_timeout", "30s"),
            ("archive_timeout", "1min"),
            ("max_wal_senders", "20"),
            ("synchronous_commit", "remote_apply"),
            ("synchronous_standby_names", "ANY 2 (a, b, c)"),
        ] {
            assert_eq!(quiet.value(name, enough), enough, "{name}");
        }
        for (name, is, should_be) in [
            ("archive_timeout", "0", "60"),
            ("archive_timeout", "5min", "60"),
            ("max_wal_senders", "0", "10"),
            ("fsync", "off", "on"),
            ("full_page_writes", "off", "on"),
            ("synchronous_commit", "local", "on"),
            ("wal_level", "minimal", "replica"),
        ] {
            assert_eq!(quiet.value(name, is), should_be, "{name}");
            assert_eq!(quiet.refusal(name, is), None, "{name}");
        }
    }

    #[test]
    fn fewer_standbys_are_refused_and_as_many_are_not() {
        let first = wanted(Synchronous::First(vec!["a".into()]));
        let no_standby = wanted(Synchronous::NoStandby);
        for (names, refused_first, refused_none) in [
            ("", false, false),
            ("a", false, true),
            ("*", false, true),
            ("first, any", false, true),
            ("FIRST 1 (\"a\", b)", false, true),
            ("2(a, b)", true, true),
            ("any 2 (a, b)", true, true),
            ("FIRST 3(a, b, c)", true, true),
        ] {
            let refused = |wanted: &Wanted| wanted.refusal("synchronous_standby_names", names).is_some();
            assert_eq!((refused(&first), refused(&no_standby)), (refused_first, refused_none), "{names}");
        }
    }

    #[test]
    fn another_archiver_is_known() {
        for (command, other) in [
            ("", false),
            ("(disabled)", false),
            ("/bin/true", false),
            ("/opt/eds ops archive-wal --config /etc/other.toml %p %f", false),
            ("pgbackrest --stanza=main archive-push %p", true),
            ("pgbackrest --stanza=main archive-push %p && /opt/eds ops archive-wal %p %f", true),
            ("/opt/eds ops archive-wal %p %f; cp %p /archive/%f", true),
            ("envdir /etc/wal-g wal-g wal-push %p", true),
            ("barman-wal-archive backup main %p", true),
            ("cp %p /archive/%f", true),
        ] {
            assert_eq!(is_other_archiver(command), other, "{command}");
        }
    }

    #[test]
    fn a_minute_is_sixty_seconds() {
        assert_eq!(seconds("1min"), seconds("60"));
        assert_eq!(seconds("5min"), Some(300));
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds("x"), None);
    }
}
