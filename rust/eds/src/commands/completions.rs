//! `eds completions`: lets a shell complete commands and options.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::commands::Cli;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Print the completions of a shell
///
/// The Python package installs the completions of bash, zsh and fish into share/ of its environment.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds completions bash > ~/.local/share/bash-completion/completions/eds
  eds completions zsh > ~/.zfunc/_eds
  eds completions fish > ~/.config/fish/completions/eds.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, _: &Output) -> Result<Exit, Failure> {
        // A closed pipe is not an error.
        let _ = std::io::stdout().write_all(completions(self.shell).as_bytes());
        Ok(Exit::Holds)
    }
}

/// Returns the completions for a shell, as a script of that shell.
pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "eds", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
