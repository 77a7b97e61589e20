//! Generated files about the command line: manual pages, completions, the reference in the docs, a description for
//! tests.
//!
//! All of them come from the parser; they are part of the repository, and a test compares them.

use clap::{Arg, ArgAction, Command, CommandFactory};
use clap_complete::Shell;
use serde_json::{Map, Value, json};

use crate::commands::{Cli, completions};

/// Returns the files, each with its path in the repository.
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
    files.push(("tests/command.json".into(), description(&root)));
    files
}

/// Returns every command with its arguments as data; tests compare other copies of the command line with it.
fn description(root: &Command) -> String {
    let leaves = all(root).into_iter().filter(|command| !command.has_subcommands());
    let commands: Map<String, Value> = leaves
        .map(|command| {
            let arguments: Vec<Value> = command.get_arguments().filter(shown).map(argument).collect();
            let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
            (name.to_owned(), Value::from(arguments))
        })
        .collect();
    // This map can always be serialized.
    serde_json::to_string_pretty(&commands).unwrap_or_default() + "\n"
}

fn argument(arg: &Arg) -> Value {
    let choices: Vec<String> =
        arg.get_possible_values().iter().map(|choice| choice.get_name().to_owned()).collect();
    json!({
        "name": arg.get_long().map_or_else(|| arg.get_id().to_string(), |long| format!("--{long}")),
        "takes_value": arg.get_action().takes_values(),
        "required": arg.is_required_set(),
        "repeated": matches!(arg.get_action(), ArgAction::Append),
        "choices": if arg.get_action().takes_values() { choices } else { Vec::new() },
    })
}

/// Returns true for an argument of the command's own.
fn shown(arg: &&Arg) -> bool {
    !arg.is_hide_set()
        && !matches!(arg.get_id().as_str(), "help" | "version" | "json" | "quiet" | "verbose" | "color")
}

/// Returns a command and those under it, parents first.
fn all(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    std::iter::once(command).chain(below.flat_map(all)).collect()
}

fn manual(command: &Command) -> String {
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = clap_mangen::Man::new(command.clone()).render(&mut page);
    String::from_utf8_lossy(&page).into_owned()
}

/// Returns the reference: every command with its options and examples, as Markdown.
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

/// Returns an argument as the user types it, such as `--keys FILE`.
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

/// Escapes a help text for a table cell, so that Markdown does not read it as markup.
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
