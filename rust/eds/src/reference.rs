//! What is written down about the command line: manual pages, completions, the reference in the docs.
//!
//! All of it comes from the parser; the files are part of the repository and a test holds them to it.

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;

use crate::commands::{Cli, completions};

/// The files, each with its path in the repository.
pub fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let share = "packaging/data/share";
    let shells = [
        (Shell::Bash, "bash-completion/completions/eds"),
        (Shell::Zsh, "zsh/site-functions/_eds"),
        (Shell::Fish, "fish/vendor_completions.d/eds.fish"),
    ];
    for (shell, path) in shells {
        files.push((format!("{share}/{path}"), completions::completions(shell)));
    }
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    for command in all(&root) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        files.push((format!("{share}/man/man1/{name}.1"), manual(command)));
    }
    files.push(("docs/reference/cli.md".into(), reference(&root)));
    files
}

/// A command and those under it, parents first.
fn all(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    std::iter::once(command).chain(below.flat_map(all)).collect()
}

fn manual(command: &Command) -> String {
    let mut page = Vec::new();
    // Writing into memory cannot fail.
    let _ = clap_mangen::Man::new(command.clone()).render(&mut page);
    String::from_utf8_lossy(&page).into_owned()
}

/// The reference: every command with its options and examples, as Markdown.
fn reference(root: &Command) -> String {
    let mut text = String::from(
        "# Commands\n\n<!-- Made from the parser of the command by `make generated`; do not edit. -->\n\n",
    );
    for command in all(root) {
        section(&mut text, command);
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn section(text: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    text.push_str(&format!("## {name}\n\n"));
    let about = command.get_long_about().or(command.get_about());
    if let Some(about) = about {
        text.push_str(&format!("{}\n\n", prose(&about.to_string())));
    }
    let usage = command.clone().render_usage().to_string();
    text.push_str(&format!("```text\n{}\n```\n\n", usage.trim_start_matches("Usage:").trim()));
    let shown =
        |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version" | "json");
    let mut headings: Vec<&str> = Vec::new();
    for arg in command.get_arguments().filter(shown) {
        let heading = heading(arg);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for wanted in headings {
        text.push_str(&format!("| {} | |\n|---|---|\n", wanted.to_lowercase()));
        for arg in command.get_arguments().filter(shown).filter(|arg| heading(arg) == wanted) {
            text.push_str(&format!("| {} | {} |\n", spelled(arg), cell(&described(arg))));
        }
        text.push('\n');
    }
    if let Some(after) = command.get_after_help() {
        text.push_str(&format!("```text\n{}\n```\n\n", after.to_string().trim_end()));
    }
}

fn heading(arg: &Arg) -> &str {
    arg.get_help_heading().unwrap_or(if arg.is_positional() { "Arguments" } else { "Options" })
}

/// `--keys FILE`, as it is typed.
fn spelled(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default().iter().map(|name| name.to_string());
    let takes_values = arg.get_action().takes_values();
    let value = if takes_values { names.collect::<Vec<_>>().join(" ") } else { String::new() };
    let optional = takes_values && arg.get_num_args().is_some_and(|range| range.min_values() == 0);
    let value = if optional { format!("[{value}]") } else { value };
    let mut words: Vec<String> = Vec::new();
    words.extend(arg.get_short().map(|short| format!("-{short}")));
    words.extend(arg.get_long().map(|long| format!("--{long}")));
    let flags = words.join(", ");
    let separator = if flags.is_empty() || value.is_empty() { "" } else { " " };
    format!("`{flags}{separator}{value}`")
}

fn described(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if defaults.is_empty() || !arg.get_action().takes_values() {
        return help;
    }
    format!("{help} [default: {}]", defaults.join(" "))
}

/// Text of the help as a cell of a table: what Markdown would take for markup stands for itself.
fn cell(text: &str) -> String {
    prose(text).replace('|', "\\|").replace('\n', " ")
}

fn prose(text: &str) -> String {
    let mut prose = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '<' | '>' | '*' | '_' | '`' | '[' | ']' | '\\') {
            prose.push('\\');
        }
        prose.push(character);
    }
    prose
}
