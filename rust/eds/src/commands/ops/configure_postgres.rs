//! `eds ops configure-postgres`: the settings of a server that is backed up.

use anstyle::{AnsiColor, Style};
use clap::Args;
use edgesentry_ops::check::Status;
use edgesentry_ops::configure::{Setting, Synchronous, Trial, Wanted, apply, compare, try_archiving};
use edgesentry_ops::restore::RestoreCommand;
use edgesentry_ops::source::Source;
use serde_json::json;

use super::session::Session;
use crate::commands::program::EdsArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;
use crate::text::sentence;

const GOOD: Style = AnsiColor::Green.on_default();
const CARE: Style = AnsiColor::Yellow.on_default().bold();

/// Compare the settings of PostgreSQL with those that archiving needs; print the SQL, and change them only with --apply
///
/// The command changes only settings that archiving needs and that you ask for; stronger settings stay. It
/// does not replace another archiver, or let commits wait for fewer standbys, without an option. The server
/// first runs archive-wal --check as its own user, and the command changes no setting if that fails. Some
/// settings need a restart, which you do yourself. Exit code 0 if every setting is correct or was changed, 3
/// if a change remains or does not work.
#[derive(Args, Debug)]
pub(super) struct ConfigurePostgres {
    /// Change the settings that differ: ALTER SYSTEM and a reload
    #[arg(long)]
    apply: bool,
    /// Seconds after which an incomplete segment is archived [default: the current setting, at most 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    archive_timeout: Option<u32>,
    /// application_name of a synchronous standby; may be repeated. A commit then waits for the first
    /// connected one, so set it only after a standby is connected [default: the current setting]
    #[arg(long = "standby", value_name = "NAME", value_parser = standby_name)]
    standbys: Vec<String>,
    /// Let commits wait for no standby; with --weaken-durability
    #[arg(long, conflicts_with = "standbys")]
    no_standby: bool,
    /// Let commits wait for fewer standbys than now
    #[arg(long)]
    weaken_durability: bool,
    /// Replace the archive_command or archive_library of another archiver
    #[arg(long)]
    replace_archiver: bool,
    #[command(flatten)]
    eds: EdsArgs,
    #[command(flatten)]
    file: ConfigFile,
}

impl ConfigurePostgres {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let session = Session::new(&self.file)?;
        let command =
            RestoreCommand { eds: self.eds.find()?, config: session.config()?, allow_unsigned: false };
        let wanted = Wanted {
            command,
            archive_timeout_seconds: self.archive_timeout,
            synchronous: match (self.standbys.is_empty(), self.no_standby) {
                (false, _) => Synchronous::First(self.standbys.clone()),
                (true, true) => Synchronous::NoStandby,
                (true, false) => Synchronous::Unchanged,
            },
            replaces_archiver: self.replace_archiver,
            weakens_durability: self.weaken_durability,
        };
        let left = "settings that were changed already stay changed; run it again to see which";
        let (settings, trial) = session.wait_or(left, async {
            let source = Source::connect(&session.settings).await?;
            let settings = compare(&source.sql, &wanted).await?;
            let trial = try_archiving(&source.sql, &wanted.command).await?;
            if self.apply {
                trial.must_not_fail()?;
                apply(&source.sql, &settings).await?;
            }
            Ok::<_, edgesentry_ops::Error>((settings, trial))
        })?;
        let text = self.text(&settings, &trial);
        let to_do = !self.apply && settings.iter().any(Setting::differs);
        let ok = !to_do && trial.status != Status::Failed;
        let content = json!({"applied": self.apply, "settings": settings, "trial": trial});
        output.answer(&Answer { ok, name: "postgres", content: &content, text, failure: None })?;
        Ok(if ok { Exit::Holds } else { Exit::Unfinished })
    }

    fn text(&self, settings: &[Setting], trial: &Trial) -> String {
        let mut text = String::new();
        let changed: Vec<&Setting> = settings.iter().filter(|setting| setting.differs()).collect();
        for setting in settings {
            if setting.differs() {
                text.push_str(&format!(
                    "{};  {CARE}-- is '{}': {}{CARE:#}\n",
                    setting.statement(),
                    setting.is,
                    setting.why
                ));
            } else {
                text.push_str(&format!("{GOOD}-- {} is '{}'{GOOD:#}\n", setting.name, setting.is));
            }
            if let Some(refused) = setting.refused {
                text.push_str(&format!("{CARE}-- {} is not changed: {refused}{CARE:#}\n", setting.name));
            }
        }
        let style = if trial.status == Status::Passed { GOOD } else { CARE };
        let outcome = match trial.status {
            Status::Passed => "works",
            Status::Failed => "does not work",
            Status::Unknown => "was not tried",
        };
        let by = "archive-wal, run by the server as its user,";
        text.push_str(&format!("{style}-- {by} {outcome}: {}{style:#}\n", sentence(&trial.evidence)));
        let restart = changed.iter().any(|setting| setting.needs_restart);
        text.push_str(match (changed.is_empty(), self.apply, restart) {
            (true, _, _) => "-- nothing to change\n",
            (false, false, _) => "-- nothing was changed; --apply changes it\n",
            (false, true, true) => "-- changed; restart PostgreSQL now: some settings hold only then\n",
            (false, true, false) => "-- changed\n",
        });
        text
    }
}

fn standby_name(name: &str) -> Result<String, String> {
    let ordinary = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || !name.chars().all(ordinary) {
        return Err("expected a name of letters, digits, _, - and .".to_owned());
    }
    Ok(name.to_owned())
}
