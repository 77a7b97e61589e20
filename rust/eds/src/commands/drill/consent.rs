//! Consent to touch the operator's own systems.

use std::io::{BufRead, IsTerminal};
use std::path::Path;

use clap::Args;
use edgesentry_ops::Settings;
use edgesentry_rs::settings::Overrides;
use serde_json::json;

use crate::envelope::terminal_safe;
use crate::exit::Failure;
use crate::output::{Output, complain};
use crate::stores;
use crate::text::sentence;

/// Whether the operator agrees.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Consent {
    /// Do not ask for confirmation before touching your own systems
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Prints the affected systems, and asks for consent unless it was given beforehand.
    pub(super) fn obtain(self, output: &Output, touches: &[String]) -> Result<(), Failure> {
        say(output, touches);
        if self.yes {
            return Ok(());
        }
        let refuse = |why: &str| Failure::usage("consent", format!("{why}; nothing was changed"));
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(refuse(
                "the drill touches your own systems and cannot ask for confirmation without a terminal; \
                 pass --yes",
            ));
        }
        complain("Continue? Answer yes:");
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        match read {
            Ok(_) if answer.trim() == "yes" => Ok(()),
            _ => Err(refuse("the answer was not yes")),
        }
    }
}

/// Prints the systems that a drill affects, a line each.
pub(super) fn say(output: &Output, touches: &[String]) {
    for touched in touches {
        if output.json {
            complain(&terminal_safe(&json!({"touches": touched}).to_string()));
        } else {
            complain(&format!("  touches: {}", sentence(touched)));
        }
    }
}

/// Loads the settings of the systems that a drill changes.
pub(super) fn settings_to_touch(config: &Path) -> Result<Settings, Failure> {
    let settings = Settings::of(stores::load(Some(config), &Overrides::default())?)?;
    if settings.ops.production {
        let message = format!(
            "{}: ops.production is true, and this drill changes something on the systems that it names; run it with \
             the settings of a staging site",
            config.display()
        );
        return Err(Failure::usage("production", message));
    }
    Ok(settings)
}
