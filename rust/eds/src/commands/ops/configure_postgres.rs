//! `eds ops configure-postgres`: what a server that is backed up must be set to.

use anstyle::{AnsiColor, Style};
use clap::Args;
use edgesentry_ops::configure::{Setting, Wanted, apply, compare};
use edgesentry_ops::restore::RestoreCommand;
use edgesentry_ops::source::Source;
use serde_json::json;

use super::session::Session;
use crate::commands::program::EdsArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::stores::ConfigFile;

const GOOD: Style = AnsiColor::Green.on_default();
const CARE: Style = AnsiColor::Yellow.on_default().bold();

/// Compare the settings of PostgreSQL with what archiving needs; prints the SQL, changes them only with --apply
///
/// Some settings hold only after a restart, which is left to you.
#[derive(Args, Debug)]
pub(super) struct ConfigurePostgres {
    /// Change what differs: ALTER SYSTEM and a reload
    #[arg(long)]
    apply: bool,
    /// Seconds after which a segment that is not full is archived
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    archive_timeout: u32,
    /// application_name of a synchronous standby; may be repeated. A commit then waits for the first that is there, so
    /// set it only once a standby is there
    #[arg(long = "standby", value_name = "NAME", value_parser = standby_name)]
    standbys: Vec<String>,
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
            synchronous: self.standbys.clone(),
        };
        let left = "settings that were changed already stay changed; run it again to see which";
        let settings = session.wait_or(left, async {
            let source = Source::connect(&session.settings).await?;
            let settings = compare(&source.sql, &wanted).await?;
            if self.apply {
                apply(&source.sql, &settings).await?;
            }
            Ok::<_, edgesentry_ops::Error>(settings)
        })?;
        let text = self.text(&settings);
        let content = json!({"applied": self.apply, "settings": settings});
        output.answer(&Answer { ok: true, name: "postgres", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }

    fn text(&self, settings: &[Setting]) -> String {
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
        }
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
        return Err("letters, digits, _, - and . make a name".to_owned());
    }
    Ok(name.to_owned())
}
