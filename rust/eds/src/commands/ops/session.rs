//! The settings of an operation, its runtime, and its progress output.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use edgesentry_formats::describe;
use edgesentry_formats::times::now_ms;
use edgesentry_ops::Settings;
use edgesentry_ops::archive::Archive;
use edgesentry_ops::observe::Event;
use edgesentry_ops::textfile::{Family, Sample, Textfile};
use edgesentry_rs::settings::{FILE_VARIABLE, Overrides};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;

use crate::exit::Failure;
use crate::interrupt;
use crate::output::Output;
use crate::remarks::remark;
use crate::stores::{self, ConfigFile};
use crate::text::sentence;
use crate::threads;

/// The note on the files that an interrupted backup or dump leaves in the archive.
pub(super) const WITHOUT_MANIFEST: &str = "files that are already in the archive are not a backup without a manifest, \
     and eds ops retention --apply deletes them after 2 days";

/// Settings and a runtime.
pub(super) struct Session {
    /// The settings.
    pub(super) settings: Settings,
    config: Option<PathBuf>,
    runtime: Runtime,
}

impl Session {
    /// Loads the settings.
    pub(super) fn new(file: &ConfigFile) -> Result<Session, Failure> {
        let settings = Settings::of(stores::load(file.config.as_deref(), &Overrides::default())?)?;
        let config = file.config.clone().or_else(|| std::env::var_os(FILE_VARIABLE).map(PathBuf::from));
        let runtime = threads::runtime()?;
        Ok(Session { settings, config, runtime })
    }

    /// Returns the full path of the settings file, for another program.
    pub(super) fn config(&self) -> Result<Option<PathBuf>, Failure> {
        let full = self.config.as_ref().map(|config| config.canonicalize()).transpose();
        full.map_err(|error| Failure::usage("config", format!("cannot find the settings file: {error}")))
    }

    /// Applies the options of the command line to the settings.
    pub(super) fn with(mut self, signatures: &Signatures) -> Session {
        self.settings.ops.allow_unsigned |= signatures.allow_unsigned;
        self
    }

    /// Returns the metrics file of the option, or else of the settings.
    pub(super) fn metrics_file<'a>(&'a self, option: Option<&'a Path>) -> Result<&'a Path, Failure> {
        option.or(self.settings.ops.textfile.as_deref()).ok_or_else(|| {
            Failure::usage("config", "no metrics file is set; set ops.textfile, or pass --metrics-file")
        })
    }

    /// Opens the archive.
    pub(super) fn archive(&self) -> Result<Archive, Failure> {
        Ok(self.runtime.block_on(Archive::open(&self.settings))?)
    }

    /// Runs work to its end, or until Ctrl-C: then the work is dropped, and removes its temporary files. For work
    /// that leaves nothing else behind, or reports by itself what it leaves.
    pub(super) fn wait<T, E: Into<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        self.until_interrupted(work, "interrupted: the work was not finished".to_owned())
    }

    /// Like [`Session::wait`], for work that leaves files behind when it is interrupted: `left` reports them.
    pub(super) fn wait_or<T, E: Into<Failure>>(
        &self,
        left: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        self.until_interrupted(work, format!("interrupted: the work was not finished; {left}"))
    }

    fn until_interrupted<T, E: Into<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
        message: String,
    ) -> Result<T, Failure> {
        match self.runtime.block_on(interrupt::unless_asked(work)) {
            Some(done) => done.map_err(Into::into),
            None => Err(Failure::interrupted(message)),
        }
    }

    /// Runs work that ends cleanly by itself on request.
    pub(super) fn run<T, E: Into<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        self.runtime.block_on(work).map_err(Into::into)
    }
}

/// Whose signatures are required.
#[derive(Args, Debug)]
pub(super) struct Signatures {
    /// Accept unsigned files although the settings name a key, for archives from before signing
    #[arg(long)]
    allow_unsigned: bool,
}

/// Prints the progress of an operation on stderr: a bar on a terminal, else a line for each step.
pub(super) struct Telling {
    bar: Option<ProgressBar>,
    silent: bool,
}

impl Telling {
    /// Returns the printer; it is silent if the output is for a program.
    pub(super) fn new(json: bool) -> Telling {
        let bar = (std::io::stderr().is_terminal() && !json).then(|| {
            let bar = ProgressBar::new(0);
            bar.set_style(style("{spinner} {msg}"));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Telling { bar, silent: json }
    }

    /// Prints an event.
    pub(super) fn tell(&self, event: Event<'_>) {
        match (event, &self.bar) {
            _ if self.silent => {}
            (Event::Step(step), Some(bar)) => {
                bar.set_style(style("{spinner} {msg}"));
                bar.set_message(sentence(step));
            }
            (Event::Step(step), None) => remark(&sentence(step)),
            (Event::Bytes { done, total }, Some(bar)) => {
                if total > 0 {
                    bar.set_style(style("{spinner} {msg}  {wide_bar} {bytes} of {total_bytes}"));
                    bar.set_length(total);
                }
                bar.set_position(done);
            }
            (Event::Bytes { .. }, None) => {}
            (Event::Note(note), Some(bar)) => bar.suspend(|| remark(&sentence(note))),
            (Event::Note(note), None) => remark(&sentence(note)),
            _ => {}
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Formats a size for people.
pub(super) fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// Records the time of a success for Prometheus, if `ops.textfile` names a file.
pub(super) fn note_success(settings: &Settings, family: &Family, label: &str, output: &Output) {
    note(settings, &[family.sample(label, (now_ms() / 1000) as f64)], output);
}

/// Records a value for Prometheus if work failed because of the archive's content, so that an earlier success does
/// not hide the failure. An unreachable store does not count: its content is unknown.
pub(super) fn note_refusal<T>(
    settings: &Settings,
    worked: Result<T, Failure>,
    sample: Sample,
    output: &Output,
) -> Result<T, Failure> {
    if worked.as_ref().is_err_and(|failure| failure.code == "archive") {
        note(settings, &[sample], output);
    }
    worked
}

/// Records values for Prometheus, if `ops.textfile` names a file. A failure here does not undo the work.
pub(super) fn note(settings: &Settings, samples: &[Sample], output: &Output) {
    let Some(path) = &settings.ops.textfile else { return };
    let noted = Textfile::open(path).and_then(|textfile| textfile.set(samples));
    if let Err(error) = noted {
        output.note(&format!("warning: {}", sentence(&describe(&error))));
    }
}
