//! The steps of a failover on running servers, and back to a complete cluster.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use edgesentry_rs::ledger::{Location, PostgresUrl};
use edgesentry_rs::secret::without_password;

use crate::check::Check;
use crate::drill::{Event, Listener};
use crate::error::Error;
use crate::failover;
use crate::postgres::Sql;
use crate::random::random;
use crate::servers::Process;
use crate::settings::Settings;
use crate::source;

/// The prefix of the drills' databases.
const DATABASE_PREFIX: &str = "edgesentry_drill_";
/// The timeout of a command; one that copies a whole standby takes long.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// The timeout for a server to follow another one.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(600);

/// Commands of the operator, run by `sh -c`. `DRILL_PRIMARY` and `DRILL_STANDBY` are host and port of the servers as
/// they were when the drill began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commands {
    /// Stops the primary, as a crash would.
    pub stop: String,
    /// Ensures that the old primary accepts no writes, whenever it comes back.
    pub fence: String,
    /// Promotes the standby; `pg_promote` by default.
    pub promote: Option<String>,
    /// Lets the old primary come back as a standby of the new one.
    pub rejoin: String,
    /// Starts the primary as it was: if it was stopped and cannot be fenced.
    pub start: Option<String>,
}

/// A primary and its standby.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) primary: Sql,
    pub(super) standby: Sql,
    primary_url: String,
    pub(super) standby_url: String,
    list: String,
    /// The database of the drill.
    pub(super) database: String,
    pub(super) version: String,
}

impl Pair {
    /// Asks both hosts of the ledger which one is the primary.
    pub(super) fn find(settings: &Settings) -> Result<Pair, Error> {
        let programs = source::programs(settings)?;
        let list = settings.stores.ledger.reveal().to_owned();
        if settings.stores.location()? != Location::Postgres {
            let message =
                "the ledger of the settings is not PostgreSQL; name both hosts: postgres://…@db-1,db-2/audit";
            return Err(Error::Config(message.to_owned()));
        }
        let urls: Vec<String> = PostgresUrl::split(&list)?.each_host().collect();
        let [one, other] = urls.as_slice() else {
            return Err(Error::Config(format!(
                "the ledger of the settings names {} hosts, and the drill needs two: postgres://…@db-1,db-2/audit",
                urls.len()
            )));
        };
        let mut servers = Vec::with_capacity(2);
        for url in [one, other] {
            let sql = Sql::new(&programs, url)?;
            let answer = sql.query("SELECT pg_is_in_recovery(), current_setting('server_version')")?;
            let (is_standby, version) = answer.split_once('|').unwrap_or_default();
            servers.push((is_standby == "t", sql, url.clone(), version.to_owned()));
        }
        // The primary first.
        servers.sort_by_key(|(is_standby, ..)| *is_standby);
        let Some((true, standby, standby_url, _)) = servers.pop() else {
            return Err(Error::Config(
                "neither host of the ledger is a standby; nothing was changed".to_owned(),
            ));
        };
        let Some((false, primary, primary_url, version)) = servers.pop() else {
            return Err(Error::Config(
                "both hosts of the ledger are standbys; nothing was changed".to_owned(),
            ));
        };
        let database = format!("{DATABASE_PREFIX}{}", hex::encode(random::<4>()?));
        Ok(Pair { primary, standby, primary_url, standby_url, list, database, version })
    }

    /// Checks that the drill can run to its end, as far as that can be known.
    pub(super) fn check(&self, commands: &Commands, asynchronous: bool) -> Result<(), Error> {
        let refuse = |problem: String| Err(Error::Config(format!("{problem}; nothing was changed")));
        let place = self.primary.place();
        let states = "SELECT count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')), count(*) \
            FROM pg_stat_replication WHERE state = 'streaming'";
        let states = self.primary.query(states)?;
        if states.ends_with("|0") {
            return refuse(format!("no standby receives write-ahead log from {place}"));
        }
        if states.starts_with("0|") && !asynchronous {
            return refuse(format!(
                "no standby of {place} is synchronous, so acknowledged records would be lost; set \
                 synchronous_standby_names, or pass --asynchronous to see the loss"
            ));
        }
        let may = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user";
        if self.primary.query(may)? != "t" {
            return refuse(format!(
                "the role may not create databases on {place}; grant it with ALTER ROLE … CREATEDB"
            ));
        }
        let may = "SELECT has_function_privilege('pg_promote(boolean, integer)', 'execute')";
        if commands.promote.is_none() && self.primary.query(may)? != "t" {
            return refuse(format!(
                "the role may not call pg_promote on {}; GRANT EXECUTE ON FUNCTION pg_promote, or pass \
                 --promote-command",
                self.standby.place()
            ));
        }
        Ok(())
    }

    /// Returns the URL of the drill's database on both hosts.
    pub(super) fn url_of_both(&self) -> String {
        self.url_of(&self.list)
    }

    /// Returns the URL of the drill's database on the hosts of a URL.
    pub(super) fn url_of(&self, url: &str) -> String {
        let (address, query) =
            url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
        let begin = address.find("://").map_or(0, |at| at + 3);
        let end = address[begin..].find('/').map_or(address.len(), |at| begin + at);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}/{}{query}", &address[..end], self.database)
    }

    /// Returns a connection to the drill's database on one server.
    pub(super) fn of_drill(&self, server: &Sql) -> Result<Sql, Error> {
        let url = if server.place() == self.primary.place() { &self.primary_url } else { &self.standby_url };
        Sql::new(server.programs(), &self.url_of(url))
    }
}

/// The stage of a failover.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Whole,
    Stopped,
    Fenced,
    Promoted,
    Rejoined,
}

/// A failover. It runs to its end when dropped, so that there is a cluster again.
pub(super) struct Course<'a> {
    pair: &'a Pair,
    commands: &'a Commands,
    stage: Stage,
    has_database: bool,
    has_ended: bool,
    listener: Listener,
    begun: Instant,
    folder: tempfile::TempDir,
}

impl<'a> Course<'a> {
    pub(super) fn begin(
        pair: &'a Pair,
        commands: &'a Commands,
        listener: Listener,
    ) -> Result<Course<'a>, Error> {
        let folder = tempfile::Builder::new().prefix("edgesentry-drill-").tempdir();
        let folder = folder.map_err(Error::io("create a directory", &std::env::temp_dir()))?;
        let begun = Instant::now();
        Ok(Course {
            pair,
            commands,
            stage: Stage::Whole,
            has_database: false,
            has_ended: false,
            listener,
            begun,
            folder,
        })
    }

    /// Creates the database of the drill, and drops those of earlier drills that were killed.
    pub(super) fn make_database(&mut self) -> Result<(), Error> {
        let primary = &self.pair.primary;
        let left = format!(
            "SELECT datname FROM pg_database d WHERE datname ~ '^{DATABASE_PREFIX}[0-9a-f]{{8}}$' \
             AND pg_has_role(datdba, 'USAGE') AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)"
        );
        for name in primary.query(&left)?.lines() {
            primary.query(&format!("DROP DATABASE IF EXISTS {name}"))?;
        }
        self.has_database = true;
        primary.query(&format!("CREATE DATABASE {}", self.pair.database)).map(|_| ())
    }

    pub(super) fn stop(&mut self) -> Result<(), Error> {
        let ran = self.run("stop", &self.commands.stop);
        // From here on the drill goes forward, unless the primary has not stopped at all: a command that fails may
        // have stopped it, such as one that has cut its own connection.
        let (begin, patience) = (Instant::now(), Duration::from_secs(if ran.is_ok() { 60 } else { 5 }));
        while self.pair.primary.query_within("SELECT 1", Duration::from_secs(2)).is_ok() {
            if begin.elapsed() > patience {
                ran?;
                let problem = "it still responds a minute after the stop command has ended".to_owned();
                return Err(Error::Server { server: self.pair.primary.place().to_owned(), problem });
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        self.stage = Stage::Stopped;
        ran
    }

    pub(super) fn fence(&mut self) -> Result<(), Error> {
        if let Err(error) = self.run("fence", &self.commands.fence) {
            // Without a fence the standby must not be promoted.
            self.stage = Stage::Whole;
            let place = self.pair.primary.place();
            let back = match &self.commands.start {
                Some(start) => match self.run("start", start) {
                    Ok(()) => format!("{place} was started as it was"),
                    Err(error) => format!("{place} is stopped, start it: {error}"),
                },
                None => format!("{place} is stopped, start it"),
            };
            let server = place.to_owned();
            return Err(Error::Server {
                server,
                problem: format!("it was not fenced, so nothing was promoted: {error}; {back}"),
            });
        }
        self.stage = Stage::Fenced;
        Ok(())
    }

    pub(super) fn promote(&mut self) -> Result<(), Error> {
        match &self.commands.promote {
            None => failover::promote(&self.pair.standby)?,
            Some(promote) => {
                self.run("promote", promote)?;
                wait(&self.pair.standby, "take writes", "SELECT NOT pg_is_in_recovery()")?;
            }
        }
        self.stage = Stage::Promoted;
        Ok(())
    }

    pub(super) fn rejoin(&mut self) -> Result<(), Error> {
        // Tried once: a second attempt to make a standby fails at the remains of the first.
        self.stage = Stage::Rejoined;
        self.run("rejoin", &self.commands.rejoin)?;
        wait(&self.pair.primary, "come back as a standby", "SELECT pg_is_in_recovery()")?;
        let follows = "SELECT count(*) > 0 FROM pg_stat_replication WHERE state = 'streaming'";
        wait(&self.pair.standby, "have the old primary as its standby", follows)
    }

    /// Checks that commits of the new primary wait for a standby.
    pub(super) fn is_synchronous_again(&self) -> Result<Check, Error> {
        let (new, name) = (&self.pair.standby, "the new primary has a synchronous standby");
        let states = "SELECT coalesce(string_agg(application_name || ' ' || sync_state, ', '), 'none'), \
            coalesce(bool_or(sync_state IN ('sync', 'quorum')), false) FROM pg_stat_replication";
        let begin = Instant::now();
        loop {
            let answer = new.query(states)?;
            let (seen, holds) = answer.rsplit_once('|').unwrap_or_default();
            if holds == "t" || begin.elapsed() > Duration::from_secs(60) {
                return Ok(Check::new(name, holds == "t", format!("standbys: {seen}")));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Completes the failover: fences a stopped primary, promotes the standby, brings the old primary back, then
    /// drops the database.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        self.has_ended = true;
        let whole = self.make_whole();
        let dropped = if self.has_database { self.drop_database() } else { Ok(()) };
        whole.and(dropped)
    }

    fn make_whole(&mut self) -> Result<(), Error> {
        if self.stage == Stage::Stopped {
            self.fence()?;
        }
        if self.stage == Stage::Fenced {
            self.promote()?;
        }
        if self.stage == Stage::Promoted {
            self.rejoin()?;
        }
        Ok(())
    }

    fn drop_database(&self) -> Result<(), Error> {
        let name = &self.pair.database;
        let server = if self.stage >= Stage::Promoted { &self.pair.standby } else { &self.pair.primary };
        let dropped = server.query(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        dropped.map(|_| ()).map_err(|error| Error::Server {
            server: server.place().to_owned(),
            problem: format!("the database {name} is left, drop it: {error}"),
        })
    }

    /// Runs a command of the operator. Its output goes to a file, so that a server that it starts and that keeps the
    /// output open does not block the drill.
    fn run(&self, name: &str, script: &str) -> Result<(), Error> {
        let log = self.folder.path().join(name);
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).env("DRILL_PRIMARY", address(&self.pair.primary_url));
        command.env("DRILL_STANDBY", address(&self.pair.standby_url));
        // Ctrl-C at the terminal reaches only the drill, which completes the current step.
        command.process_group(0);
        let failed = |said: String| Error::Program { program: format!("the {name} command"), said };
        let mut process = Process::start(&mut command, &log).map_err(|error| failed(error.to_string()))?;
        if !process.wait(COMMAND_TIMEOUT).map_err(|error| failed(error.to_string()))? {
            return Err(failed(format!("timed out after {} s", COMMAND_TIMEOUT.as_secs())));
        }
        match process.ended().map_err(|error| failed(error.to_string()))? {
            Some(status) if !status.success() => {
                let words = process.last_words().split_whitespace().collect::<Vec<_>>().join(" ");
                Err(failed(format!("{status}: {words}")))
            }
            _ => Ok(()),
        }
    }

    fn tell(&self, what: String) {
        let at_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.listener.tell(&Event { at_ms, what });
    }
}

impl Drop for Course<'_> {
    /// Runs at Ctrl-C; a second Ctrl-C does not wait for it.
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.tell("interrupted: the cluster is restored first".to_owned());
        let ended = self.end();
        self.tell(match ended {
            Ok(()) => "the cluster is restored, and the database of the drill is dropped".to_owned(),
            Err(error) => error.describe(),
        });
    }
}

fn wait(sql: &Sql, what: &str, question: &str) -> Result<(), Error> {
    let begin = Instant::now();
    // A starting server refuses connections for a while.
    while !matches!(sql.query_within(question, Duration::from_secs(10)).as_deref(), Ok("t")) {
        if begin.elapsed() > FOLLOW_TIMEOUT {
            let problem = format!("it does not {what} within {} s", FOLLOW_TIMEOUT.as_secs());
            return Err(Error::Server { server: sql.place().to_owned(), problem });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Returns a command as it is shown and reported: without the passwords of URLs, and without the values of variables
/// and options that are named like a secret.
pub(super) fn shown(command: &str) -> String {
    let mut shown: Vec<String> = Vec::new();
    // The quote that ends a hidden value which began in an earlier word.
    let (mut is_value, mut quote) = (false, None);
    for word in command.split_whitespace() {
        if let Some(open) = quote {
            quote = Some(open).filter(|open| !word.ends_with(*open));
            continue;
        }
        let word = without_password(word);
        let (name, value) = match word.split_once('=') {
            _ if std::mem::take(&mut is_value) => ("", Some(&*word)),
            Some((name, value)) if is_secret(name) => (name, Some(value)),
            _ => ("", None),
        };
        let Some(value) = value else {
            is_value = word.starts_with('-') && is_secret(&word);
            shown.push(word);
            continue;
        };
        let open = value.chars().next().filter(|first| ['\'', '"'].contains(first));
        quote = open.filter(|open| value.len() == 1 || !value.ends_with(*open));
        shown.push(if name.is_empty() { "***".to_owned() } else { format!("{name}=***") });
    }
    shown.join(" ")
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "credential", "api_key", "api-key", "access_key"]
        .iter()
        .any(|part| name.contains(part))
}

/// Returns host and port of a URL.
fn address(url: &str) -> &str {
    PostgresUrl::split(url).map_or("", PostgresUrl::hosts)
}

#[cfg(test)]
mod tests {
    use super::{address, shown};

    #[test]
    fn a_command_is_shown_without_variables_named_like_secrets() {
        for (command, expected) in [
            ("ssh db-1 systemctl kill -s KILL postgresql", "ssh db-1 systemctl kill -s KILL postgresql"),
            ("PGPASSWORD=hush psql postgres://me:hush@db/x", "PGPASSWORD=*** psql postgres://me:***@db/x"),
            ("PGPASSWORD='hush hush' rejoin --host db", "PGPASSWORD=*** rejoin --host db"),
            (
                "api --token hush --url https://db/?token=hush stop",
                "api --token *** --url https://db/?token=*** stop",
            ),
            ("api --password=\"hush hush hush\" stop", "api --password=*** stop"),
            ("AWS_SECRET_ACCESS_KEY=hush\taws stop", "AWS_SECRET_ACCESS_KEY=*** aws stop"),
        ] {
            assert_eq!(shown(command), expected);
        }
    }

    #[test]
    fn commands_learn_no_password() {
        assert_eq!(address("postgres://me:p%40ss@db-1:5433/audit?sslmode=require"), "db-1:5433");
        assert_eq!(address("postgres://db-1"), "db-1");
    }
}
