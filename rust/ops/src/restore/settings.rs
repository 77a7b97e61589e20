//! The settings with which a restored server recovers: `recovery.signal` and `postgresql.auto.conf`. PostgreSQL
//! refuses `recovery.conf` since version 12.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use edgesentry_formats::{NewFile, Readers};
use time::format_description::well_known::Rfc3339;

use super::{Restore, Target};
use crate::adopt;
use crate::backup::Backup;
use crate::data_folder;
use crate::error::Error;
use crate::postgres::Programs;
use crate::program;
use crate::temporary::Temporary;
use crate::wal::ahead::FOLDER;
use crate::wal::{Lsn, Segment};

/// The timeout of a response from the archive.
const ARCHIVE_TIMEOUT: Duration = Duration::from_secs(300);

/// A history file that no archive has: timelines are counted from 1.
const NO_FILE: &str = "FFFFFFFF.history";

/// The command with which a server fetches write-ahead log: this program, with the settings that name the archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestoreCommand {
    /// The program `eds`.
    pub eds: PathBuf,
    /// The settings file, which the server must be able to read. None if the server has the `EDS_` variables.
    pub config: Option<PathBuf>,
    /// Whether it fetches unsigned segments although the settings name a key.
    pub allow_unsigned: bool,
}

impl RestoreCommand {
    pub(crate) fn check(&self) -> Result<(), Error> {
        for path in [Some(&self.eds), self.config.as_ref()].into_iter().flatten() {
            if !path.is_absolute() || !path.is_file() {
                let problem =
                    "PostgreSQL runs it from its own directory: expected the absolute path of a file";
                return Err(Error::Config(format!("{}: {problem}", path.display())));
            }
        }
        Ok(())
    }

    /// Asks it for a file that no archive has, as the user that the server runs as: a program that this user may not
    /// run, settings that it may not read or an archive that it cannot reach would end recovery. The directory is
    /// given to that user to work in, and removed: it must not be used for anything else.
    pub(crate) fn attempt(&self, programs: &Programs, folder: Temporary) -> Result<(), Error> {
        programs.own(folder.path())?;
        let mut fetch = self.run("fetch-wal", programs, folder.path());
        let why = match program::run(fetch.args([NO_FILE, "nothing"]), ARCHIVE_TIMEOUT) {
            // The exit code alone does not suffice: a broken installation of Python exits with the same.
            Ok(ended) if ended.status.code() == Some(1) && ended.stderr.contains(NO_FILE) => return Ok(()),
            Ok(ended) => ended.said(),
            Err(Error::Program { said, .. }) => said,
            Err(error) => return Err(error),
        };
        Err(Error::Config(format!(
            "{}: the user of PostgreSQL cannot fetch write-ahead log with it: {why}; allow this user to run it and to \
             read the settings",
            self.eds.display()
        )))
    }

    /// Returns the value of `restore_command`.
    pub fn fetch(&self) -> String {
        let allow = if self.allow_unsigned { "--allow-unsigned " } else { "" };
        self.command("fetch-wal", &format!("{allow}%f %p"))
    }

    /// Returns the value of `restore_command` while segments are fetched ahead: a rename suffices for those that are
    /// there.
    fn recover(&self) -> String {
        format!("mv pg_wal/{FOLDER}/%f %p 2>/dev/null || {}", self.fetch())
    }

    /// Returns the process that fetches segments ahead for a server in `data`, as the user that the server runs as.
    pub(super) fn ahead(&self, programs: &Programs, data: &Path, from: Segment, timeline: u32) -> Command {
        let mut ahead = self.run("fetch-ahead", programs, data);
        ahead.arg(format!("--timeline={timeline}")).arg(from.to_string()).arg(format!("pg_wal/{FOLDER}"));
        ahead
    }

    /// Returns one of its fetch commands, in a directory, as the user that the server runs as.
    fn run(&self, name: &str, programs: &Programs, folder: &Path) -> Command {
        let mut command = programs.owned(&self.eds.to_string_lossy());
        command.current_dir(folder).args(["ops", name]);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        if self.allow_unsigned {
            command.arg("--allow-unsigned");
        }
        command
    }

    /// Returns the value of `archive_command`.
    pub fn archive(&self) -> String {
        self.command("archive-wal", "%p %f")
    }

    /// Returns a command that tests the value of `archive_command` without archiving anything.
    pub fn archive_check(&self) -> String {
        self.command("archive-wal", "--check")
    }

    fn command(&self, name: &str, arguments: &str) -> String {
        let config = self.config.as_ref().map(|config| format!(" --config {}", word(config)));
        format!("{} ops {name}{} {arguments}", word(&self.eds), config.unwrap_or_default())
    }
}

/// Quotes a path for the shell, and for PostgreSQL before that.
fn word(path: &Path) -> String {
    let path = path.display().to_string().replace('%', "%%");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// Quotes a string for a settings file.
pub(crate) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// The comment lines around the settings for the recovery only.
const BEGIN: &str = "# edgesentry: recovery; taken out when it is over";
const END: &str = "# edgesentry: end of recovery";

/// Writes the settings of the recovery and of the restored server. Returns notes.
pub(super) fn write(
    programs: &Programs,
    restore: &Restore,
    backup: &Backup,
    timeline: u32,
    point: Option<Lsn>,
) -> Result<Vec<String>, Error> {
    let data = &restore.data;
    let mut notes = Vec::new();
    for (name, text) in [
        ("postgresql.conf", "# Made by the restore: the backup has none.\n"),
        (
            "pg_hba.conf",
            "# Made by the restore: the backup has none.\nhost all all 127.0.0.1/32 scram-sha-256\n",
        ),
    ] {
        let path = data.join(name);
        if !path.exists() {
            write_file(programs, &path, text)?;
            notes.push(format!(
                "{name} is not in the backup and was created; that of the original is outside its data directory"
            ));
        }
    }
    let automatic = data.join("postgresql.auto.conf");
    let text = data_folder::text(&automatic)?.unwrap_or_default();
    // The original may be an adopted copy.
    let own = text.lines().filter(|line| adopt::is_mark(line).is_none());
    let mut text: String = own.map(|line| format!("{line}\n")).collect();
    text.push_str(&format!("\n{BEGIN}\n"));
    for (name, value) in recovery(restore, backup, timeline, point) {
        text.push_str(&format!("{name} = {}\n", quoted(&value)));
    }
    text.push_str(&format!("{END}\n"));
    // Without its standbys a commit would wait forever.
    text.push_str("synchronous_standby_names = ''\n");
    notes.push(
        "synchronous_standby_names is empty until there is a standby again: see eds ops configure-postgres"
            .into(),
    );
    text.push_str(&format!("{} = {}\n", adopt::SETTING, quoted(&adopt::new_mark()?)));
    if restore.drill {
        text.push_str(&format!("{}\n", adopt::NEVER));
    } else {
        // With these settings PostgreSQL keeps its log until a command is set.
        text.push_str("archive_mode = on\narchive_command = ''\narchive_library = ''\n");
        notes.push(
            "it archives nothing until it is adopted, and keeps all of its write-ahead log until then: see eds ops adopt"
                .into(),
        );
    }
    write_file(programs, &automatic, &text)?;
    write_file(programs, &data.join("recovery.signal"), "")?;
    Ok(notes)
}

fn recovery(
    restore: &Restore,
    backup: &Backup,
    timeline: u32,
    point: Option<Lsn>,
) -> Vec<(&'static str, String)> {
    // A backup needs no history for its own timeline.
    let timeline = if timeline == backup.timeline { "current".to_owned() } else { timeline.to_string() };
    let mut settings: Vec<(&'static str, String)> = vec![
        ("restore_command", restore.command.recover()),
        ("recovery_target_action", "promote".to_owned()),
        ("recovery_target_timeline", timeline),
        ("recovery_target_inclusive", "on".to_owned()),
    ];
    // PostgreSQL refuses two targets at once; the backup may contain one of an earlier restore.
    let names = [
        "recovery_target",
        "recovery_target_time",
        "recovery_target_name",
        "recovery_target_lsn",
        "recovery_target_xid",
    ];
    settings.extend(names.map(|name| (name, String::new())));
    match &restore.target {
        Target::Latest => {}
        Target::Time(time) => {
            // A numeric zone: when PostgreSQL reads these settings it does not know the names of zones yet, and
            // refuses even Z.
            let utc = time.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default();
            settings.push(("recovery_target_time", utc.replace('Z', "+00:00")));
        }
        // A name may have been used more than once, and recovery to a name ends at the first one: the position names
        // the last.
        Target::Point(name) => settings.push(match point {
            Some(point) => ("recovery_target_lsn", point.to_string()),
            None => ("recovery_target_name", name.clone()),
        }),
    }
    settings
}

/// Removes the settings of the recovery: they would apply to the next one.
pub(super) fn clear(programs: &Programs, restore: &Restore) -> Result<(), Error> {
    let path = restore.data.join("postgresql.auto.conf");
    let text = data_folder::text(&path)?.unwrap_or_default();
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        inside |= *line == BEGIN;
        let keep = !inside;
        inside &= *line != END;
        keep
    });
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    write_file(programs, &path, &kept)
}

pub(crate) fn write_file(programs: &Programs, path: &Path, text: &str) -> Result<(), Error> {
    let mut file = NewFile::beside(path, Readers::Owner).map_err(Error::io("write", path))?;
    file.write_all(text.as_bytes()).map_err(Error::io("write", path))?;
    if let Some(temporary) = file.temporary_path() {
        programs.own(temporary)?;
    }
    file.replace().map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_quoted_for_the_shell_and_for_postgresql() {
        let command = RestoreCommand {
            eds: "/opt/my eds/eds".into(),
            config: Some("/etc/100%/it's.toml".into()),
            allow_unsigned: false,
        };
        let expected = r"'/opt/my eds/eds' ops fetch-wal --config '/etc/100%%/it'\''s.toml' %f %p";
        assert_eq!(command.fetch(), expected);
        let plain = RestoreCommand { eds: "/usr/bin/eds".into(), config: None, allow_unsigned: true };
        assert_eq!(plain.fetch(), "/usr/bin/eds ops fetch-wal --allow-unsigned %f %p");
        assert_eq!(
            plain.recover(),
            "mv pg_wal/edgesentry_ahead/%f %p 2>/dev/null || /usr/bin/eds ops fetch-wal --allow-unsigned %f %p"
        );
        assert_eq!(plain.archive(), "/usr/bin/eds ops archive-wal %p %f");
        assert_eq!(quoted("it's"), "'it''s'");
    }
}
