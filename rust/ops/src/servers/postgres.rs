//! PostgreSQL clusters of a drill's own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::program::Program;
use crate::error::Error;
use crate::postgres::{Programs, Sql};
use crate::process::{Process, free_port};
use crate::program;
use crate::random::random;

/// The programs of an own PostgreSQL.
pub const POSTGRESQL: Program = Program {
    name: "postgresql",
    files: &["initdb"],
    package: "postgresql",
    elsewhere: Some(|| {
        let initdb = Programs::find(None).ok()?.folder().join("initdb");
        initdb.is_file().then_some(initdb)
    }),
};

/// The user that owns everything in the clusters of a drill.
const USER: &str = "edgesentry";
/// The timeout for creating or copying a cluster.
const INIT_TIMEOUT: Duration = Duration::from_secs(3600);
/// The timeout for starting or stopping a server; recovery after a crash under load takes a while.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// A PostgreSQL cluster in a directory of its own, on a free loopback port. It is killed and removed when dropped.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    name: String,
    port: u16,
    password: String,
    process: Option<Process>,
    folder: TempDir,
}

/// The primary that a standby copies, and the name of the standby there.
#[derive(Clone, Copy, Debug)]
pub struct Primary<'a> {
    /// A running cluster.
    pub cluster: &'a Cluster,
    /// The `application_name`, which `synchronous_standby_names` lists, and the replication slot, such as `standby1`.
    pub standby: &'a str,
}

impl Cluster {
    /// Creates a cluster without starting it. `settings` are lines of postgresql.conf.
    pub fn create(programs: &Programs, name: &str, settings: &[&str]) -> Result<Cluster, Error> {
        let cluster = Cluster::empty(programs, name, random_password()?)?;
        let password = cluster.path("password");
        std::fs::write(&password, &cluster.password).map_err(Error::io("write a password", &password))?;
        programs.own(&password)?;
        let mut initdb = programs.owned("initdb");
        initdb.args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        initdb.arg("--pwfile").arg(&password).arg("-D").arg(cluster.data());
        let made = program::done(&mut initdb, INIT_TIMEOUT);
        // The password is not needed any more.
        let _ = std::fs::remove_file(&password);
        made?;
        cluster.set(settings)?;
        Ok(cluster)
    }

    /// Creates a standby of a running cluster by pg_basebackup, with a replication slot there, without starting it.
    pub fn standby(primary: Primary<'_>, settings: &[&str]) -> Result<Cluster, Error> {
        let Primary { cluster: from, standby: name } = primary;
        let standby = Cluster::empty(&from.programs, name, from.password.clone())?;
        let mut copy = from.programs.owned("pg_basebackup");
        from.sql()?.sign_in(&mut copy);
        copy.args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-C", "-S", name, "-D"])
            .arg(standby.data());
        program::done(&mut copy, INIT_TIMEOUT)?;
        // pg_basebackup -R writes its own application_name; the last line of a setting counts.
        let connection = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user={USER} password={} application_name={name}'\n",
            from.port, from.password
        );
        append(&standby.data().join("postgresql.auto.conf"), &connection)?;
        standby.set(settings)?;
        Ok(standby)
    }

    fn empty(programs: &Programs, name: &str, password: String) -> Result<Cluster, Error> {
        programs.require(&["initdb", "postgres", "pg_basebackup"])?;
        let temporary = std::env::temp_dir();
        let folder = tempfile::Builder::new().prefix("edgesentry-drill-").tempdir();
        let folder = folder.map_err(Error::io("create a directory", &temporary))?;
        programs.own(folder.path())?;
        let port = free_port().map_err(Error::io("find a free port", &temporary))?;
        Ok(Cluster {
            programs: programs.clone(),
            name: name.to_owned(),
            port,
            password,
            process: None,
            folder,
        })
    }

    /// Returns its name in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its data directory, PGDATA.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Returns `127.0.0.1:PORT`, for a list of hosts.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the URL of a database in it, with the password.
    pub fn url(&self, database: &str) -> String {
        self.url_with([self.host()], database)
    }

    /// Returns the URL of a list of hosts that share its users.
    pub fn url_with(&self, hosts: impl IntoIterator<Item = String>, database: &str) -> String {
        let hosts: Vec<String> = hosts.into_iter().collect();
        format!("postgres://{USER}:{}@{}/{database}", self.password, hosts.join(","))
    }

    /// Returns its database `postgres`, through psql.
    pub fn sql(&self) -> Result<Sql, Error> {
        Sql::new(&self.programs, &self.url("postgres"))
    }

    /// Returns the programs that it runs on.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Appends lines to its postgresql.conf; they apply from the next start on.
    pub fn set(&self, settings: &[&str]) -> Result<(), Error> {
        append(&self.data().join("postgresql.conf"), &format!("\n{}\n", settings.join("\n")))
    }

    /// Starts it and waits until it responds.
    pub fn start(&mut self) -> Result<(), Error> {
        self.launch()?;
        self.wait_until("answers", |sql| match sql.query("SELECT 1") {
            Ok(_) => Ok(true),
            Err(Error::Server { .. }) => Ok(false),
            Err(error) => Err(error),
        })
    }

    /// Starts it without waiting.
    pub fn launch(&mut self) -> Result<(), Error> {
        let log = self.path("log");
        let mut postgres = self.programs.owned("postgres");
        postgres.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        postgres.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        let process = Process::start(&mut postgres, &log);
        self.process = Some(process.map_err(Error::io("start PostgreSQL", &self.data()))?);
        Ok(())
    }

    /// Polls it until `holds` returns true, as long as it runs.
    pub fn wait_until(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&Sql) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let sql = self.sql()?;
        let begin = Instant::now();
        loop {
            if holds(&sql)? {
                return Ok(());
            }
            if !self.lives() {
                return Err(self.problem("it has ended"));
            }
            if begin.elapsed() > START_TIMEOUT {
                let problem = format!("this did not happen within {} s: {what}", START_TIMEOUT.as_secs());
                return Err(self.problem(&problem));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Returns true if its postmaster runs.
    pub fn lives(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::lives)
    }

    /// Promotes a standby and waits until it takes writes.
    pub fn promote(&mut self) -> Result<(), Error> {
        self.sql()?.query("SELECT pg_promote(false)")?;
        self.wait_until("accepts writes", |sql| Ok(sql.query("SELECT pg_is_in_recovery()")? == "f"))
    }

    /// Stops it cleanly (fast): open transactions are rolled back, connections are ended.
    pub fn stop(&mut self) -> Result<(), Error> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::INT);
        let ended = process.wait(START_TIMEOUT).map_err(Error::io("stop PostgreSQL", &self.data()))?;
        if ended { Ok(()) } else { Err(self.problem("it does not stop")) }
    }

    /// Kills the postmaster and all its processes with SIGKILL, as a crash of the machine would.
    pub fn kill(&mut self) -> Result<(), Error> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill().map_err(Error::io("kill PostgreSQL", &self.data()))?;
        // Its lock file remains; the next start sees that no process holds it.
        Ok(())
    }

    /// Returns the end of its log.
    pub fn last_words(&self) -> String {
        self.process.as_ref().map(Process::last_words).unwrap_or_default()
    }

    fn problem(&self, problem: &str) -> Error {
        let words = self.last_words();
        let problem =
            if words.is_empty() { problem.to_owned() } else { format!("{problem}; its log: {words}") };
        Error::Server { server: format!("PostgreSQL {} on port {}", self.name, self.port), problem }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn append(file: &Path, lines: &str) -> Result<(), Error> {
    use std::io::Write as _;
    let open = std::fs::File::options().append(true).open(file);
    open.and_then(|mut file| file.write_all(lines.as_bytes())).map_err(Error::io("write settings", file))
}

/// Returns letters and digits only, which need no escape.
fn random_password() -> Result<String, Error> {
    Ok(hex::encode(random::<24>()?))
}
