//! `eds serve` and `eds push`: processes that communicate, and processes that are killed.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use edgesentry_chain::{Device, KeyRing, Scheme};
use edgesentry_rs::agent::Outbox;
use edgesentry_rs::ledger::Registration;
use edgesentry_rs::settings::{Access, Overrides, Settings};
use edgesentry_rs::transport::{Client, ClientSettings};
use serde_json::json;

use crate::{Folder, Run, fleet};

/// Returns the URL in the event of a service that listens.
pub(crate) fn listening(line: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    assert_eq!(event["fields"]["message"], "listening", "{line}");
    event["fields"]["url"].as_str().unwrap().to_owned()
}

/// A service in a process of its own; killed when dropped.
pub(crate) struct Served {
    child: Child,
    url: String,
}

impl Served {
    pub(crate) fn start(mut command: Command, listen: &str) -> Served {
        command.args(["serve", "--create", "--listen", listen]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let url = listening(&line);
        std::thread::spawn(move || lines.for_each(drop));
        Served { child, url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Asks it to stop and waits.
    fn stop(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_log_has_the_format_of_the_option() {
    let folder = Folder::new();
    let first_line = |format: &str| {
        let mut command = folder.command();
        command.args(["serve", "--create", "--listen", "127.0.0.1:0", "--log-format", format]);
        // The addresses are logged under any filter.
        command.env("RUST_LOG", "off").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        line
    };
    assert!(listening(&first_line("json")).starts_with("http://127.0.0.1:"));
    assert!(listening(&first_line("auto")).starts_with("http://127.0.0.1:"));
    let text = first_line("text");
    let event = "edgesentry_rs::transport::listening: listening url=http://127.0.0.1:";
    assert!(text.contains(event) && text.ends_with(" ledger=\"edgesentry.db\"\n"), "{text}");
    let run = folder.eds("serve --listen 8080");
    assert!(run.code == 2 && run.stderr.contains("expected an IP address and a port"), "{}", run.stderr);
}

fn push(folder: &Folder, served: &Served, more: &str) -> Run {
    folder.eds(&format!("--json push --url {} --payloads payloads {more}", served.url))
}

#[test]
fn files_are_pushed_to_a_service() {
    let (folder, fleet) = fleet(200);
    folder.write_payloads("payloads", &fleet);
    // The first record registers the devices.
    folder.write_records("first.ndjson", &fleet.records[..1]);
    let run = folder.eds("ingest first.ndjson --payloads payloads --register keys.json");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let served = Served::start(folder.command(), "127.0.0.1:0");
    let run = push(&folder, &served, "export.ndjson");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.envelope()["push"]["accepted"], 199);
    assert_eq!(push(&folder, &served, "export.ndjson").envelope()["push"]["duplicate"], 200);
    let mut forked = fleet.records[0].clone();
    forked.timestamp_ms += 1;
    folder.write_records("forked.ndjson", &[forked]);
    let run = push(&folder, &served, "forked.ndjson");
    assert_eq!((run.code, run.envelope()["push"]["rejections"].as_array().unwrap().len()), (1, 1));
    assert_eq!(served.stop(), Some(0));
    assert_eq!(folder.eds("verify-chain --ledger --registered --payload-store").code, 0);
    let nobody =
        folder.eds("--json push --url http://127.0.0.1:9 --attempts 1 --payloads payloads export.ndjson");
    assert_eq!((nobody.code, nobody.envelope()["error"]["code"].as_str()), (3, Some("service")));
}

#[test]
fn the_rejections_that_are_kept_are_known_from_the_start() {
    let (folder, fleet) = fleet(60);
    folder.write_payloads("payloads", &fleet);
    // Records of unregistered devices.
    folder.write("none.json", edgesentry_formats::write_key_ring(&KeyRing::new()));
    let run = folder.eds("ingest export.ndjson --payloads payloads --register none.json");
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    let served = Served::start(folder.command(), "127.0.0.1:0");
    // The first such request: the first scan that deletes may still be running.
    let answer = get(served.address(), "/metrics");
    let kept = "edgesentry_rejections_kept{reason=\"unknown_device\"} 60\n";
    assert!(answer.contains(kept), "{answer}");
    assert_eq!(served.stop(), Some(0));
}

/// Returns the response to one request.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_reloads_at_sighup_and_ends_well_at_sigterm() {
    let (folder, fleet) = fleet(20);
    folder.write_payloads("payloads", &fleet);
    let run = folder.eds("ingest export.ndjson --payloads payloads --register keys.json");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    // Repeated, because it depended on which thread received the signal first; and in the background, where SIGHUP is
    // ignored until the service handles it.
    for start in [Folder::command_for_signals, Folder::command_in_background].into_iter().cycle().take(6) {
        let served = Served::start(start(&folder), "127.0.0.1:0");
        for _ in 0..3 {
            served.signal(rustix::process::Signal::HUP);
            assert_eq!(push(&folder, &served, "export.ndjson").envelope()["push"]["duplicate"], 20);
        }
        assert_eq!(served.stop(), Some(0));
    }
}

#[test]
fn a_token_is_known_by_its_hash_only() {
    let folder = Folder::new();
    let made = folder.eds("--json token auditor --scope read --scope ingest --device lift-01").envelope();
    let made = &made["token"];
    assert_eq!((&made["scopes"], &made["devices"]), (&json!(["read", "ingest"]), &json!(["lift-01"])));
    let token = made["token"].as_str().unwrap();
    assert_eq!(edgesentry_chain::Hash::of(token.as_bytes()).to_string(), made["hash"].as_str().unwrap());
    // T=$(eds token ...) has the token, and stderr the entry, which can be pasted into the settings.
    let run = folder.eds("token auditor --scope read");
    let (token, entry) = (run.stdout.trim_end(), run.stderr);
    assert!(token.starts_with("eds_") && token.len() == 68 && !entry.contains(token), "{token}");
    folder.write("eds.toml", entry);
    assert_eq!(folder.eds("config check --create --config eds.toml").code, 0);
    assert_eq!(folder.eds("token x --scope all").code, 2);
}

/// Creates a database, named after its purpose.
pub(crate) async fn database(purpose: &str) -> String {
    use sqlx::Connection;
    let server = std::env::var("EDGESENTRY_TEST_POSTGRES").expect(
        "EDGESENTRY_TEST_POSTGRES is not set: run the tests by make test, or under scripts/servers/with",
    );
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    // The server outlives the processes of tests, whose numbers repeat.
    let name = format!("{purpose}_{:016x}", RandomState::new().hash_one(0));
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    format!("{}/{name}", server.rsplit_once('/').unwrap().0)
}

/// The number of times that a node is killed.
const KILLS: usize = 6;

#[test]
fn two_nodes_on_one_ledger_lose_nothing_when_they_are_killed_in_turns() {
    let folder = Arc::new(Folder::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ledger = runtime.block_on(database("serve"));
    let payloads = format!("folder:{}", folder.path("payloads").display());
    let node = |listen: &str| {
        let mut command = folder.command();
        command.env("EDS_LEDGER", &ledger).env("EDS_PAYLOADS", &payloads);
        Served::start(command, listen)
    };
    let mut nodes = [node("127.0.0.1:0"), node("127.0.0.1:0")];
    let addresses = nodes.each_ref().map(|node| node.address().to_owned());
    let overrides = Overrides { ledger: Some(ledger.clone()), payloads: Some(payloads.clone()) };
    let settings = Settings::load(None, &overrides).unwrap();
    let stores = runtime.block_on(settings.open(Access::Create)).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let devices: Vec<_> = (1..=4_u8)
        .map(|number| {
            let device = Device::from_seed(format!("lift-{number}"), [number; 32], Scheme::Record);
            let registration = Registration {
                device_id: device.device_id().to_owned(),
                key: device.public_key().unwrap(),
                scheme: Scheme::Record,
                valid_from: None,
                start: None,
            };
            runtime.block_on(stores.ledger.register(&registration)).unwrap();
            let (folder, over, addresses) = (Arc::clone(&folder), Arc::clone(&over), addresses.clone());
            runtime.spawn(async move { moving(&folder, device, &addresses, &over).await })
        })
        .collect();
    for kill in 0..KILLS {
        // Under load, on a slow machine too: something was ingested since the last kill.
        let before = runtime.block_on(stores.ledger.heads()).unwrap();
        loop {
            let heads = runtime.block_on(stores.ledger.heads()).unwrap();
            if heads.len() == 4 && heads != before {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let at = kill % 2;
        nodes[at].kill();
        nodes[at] = node(&addresses[at]);
    }
    over.store(true, Ordering::Relaxed);
    for device in devices {
        let (device_id, acknowledged, signed) = runtime.block_on(device).unwrap();
        let heads = runtime.block_on(stores.ledger.heads()).unwrap();
        assert_eq!(heads[device_id.as_str()].sequence, signed, "{device_id}");
        assert_eq!(acknowledged, signed, "{device_id}");
    }
    for node in nodes {
        assert_eq!(node.stop(), Some(0));
    }
    let verify =
        folder.run(&["verify-chain", "--ledger", &ledger, "--registered", "--payload-store", &payloads], b"");
    assert_eq!(verify.code, 0, "{}{}", verify.stdout, verify.stderr);
}

/// Runs a device that signs, and sends to one node and then to the other until the end, when nothing waits. Returns
/// the number of acknowledged records, and of signed ones.
async fn moving(
    folder: &Folder,
    device: Device,
    addresses: &[String; 2],
    over: &AtomicBool,
) -> (String, u64, u64) {
    let device_id = device.device_id().to_owned();
    let agent = Outbox::open(&folder.path(&format!("{device_id}.outbox")), device).await.unwrap();
    let clients = addresses.each_ref().map(|address| {
        let settings = ClientSettings {
            attempts: 2,
            batch_records: 10,
            ..ClientSettings::new(format!("http://{address}"))
        };
        Client::new(settings).unwrap()
    });
    let mut signed = 0;
    for round in 0.. {
        if over.load(Ordering::Relaxed) {
            if agent.waiting().await.unwrap() == 0 {
                break;
            }
        } else {
            let items = (signed + 1..=signed + 25).map(|sequence| {
                let payload = Bytes::from(format!("{device_id} {sequence}"));
                (sequence, payload, format!("{device_id}/{sequence}.bin"))
            });
            agent.sign_many(items).await.unwrap();
            signed += 25;
        }
        match agent.flush(&clients[round % 2]).await {
            Ok(flushed) => assert_eq!(flushed.rejection, None, "{device_id}"),
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
    let acknowledged = signed - agent.waiting().await.unwrap();
    (device_id, acknowledged, signed)
}

#[test]
fn waiting_records_of_an_outbox_are_pushed() {
    let folder = Folder::new();
    let mut command = folder.command();
    command.env("EDS_LEDGER", "sqlite:edgesentry.db");
    let served = Served::start(command, "127.0.0.1:0");
    folder.write("lift.seed", format!("{}\n", "07".repeat(32)));
    let mine = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.path("lift.seed"), mine).unwrap();
    let device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
    let key = device.public_key().unwrap();
    assert_eq!(folder.eds(&format!("device register lift-01 --public-key {key}")).code, 0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sign = |from: u64, to: u64| {
        runtime.block_on(async {
            let agent = Outbox::open(&folder.path("lift.outbox"), device.clone()).await.unwrap();
            let items = (from..=to).map(|at| (at, Bytes::from(at.to_string()), format!("lift-01/{at}.bin")));
            agent.sign_many(items).await.unwrap();
            agent.close().await;
        });
    };
    let push = |url: &str| {
        folder.eds(&format!(
            "--json push --url {url} --outbox lift.outbox --device lift-01 --key lift.seed --attempts 1"
        ))
    };
    sign(1, 30);
    let run = push(&served.url);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let pushed = &run.envelope()["push"];
    assert_eq!((&pushed["accepted"], &pushed["waiting"]), (&json!(30), &json!(0)));
    // No service runs: the record waits, and nothing is lost.
    let url = served.url.clone();
    assert_eq!(served.stop(), Some(0));
    sign(31, 40);
    let run = push(&url);
    assert_eq!((run.code, &run.envelope()["push"]["waiting"]), (3, &json!(10)), "{}", run.stdout);
    let mut command = folder.command();
    command.env("EDS_LEDGER", "sqlite:edgesentry.db");
    let served = Served::start(command, url.split_once("://").unwrap().1);
    let pushed = push(&served.url).envelope()["push"].clone();
    assert_eq!((&pushed["accepted"], &pushed["waiting"]), (&json!(10), &json!(0)));
    assert_eq!(served.stop(), Some(0));
    let missing = folder.eds("push --url http://127.0.0.1:1 --outbox none --device lift-01 --key lift.seed");
    assert_eq!(missing.code, 2, "{}", missing.stderr);
    assert_eq!(folder.eds("verify-chain --ledger --registered --payload-store").code, 0);
}

#[test]
fn it_stops_in_order_from_the_moment_it_listens() {
    let folder = Folder::new();
    for round in 0..20 {
        let mut command = folder.command();
        command.env("EDS_LEDGER", "sqlite:edgesentry.db");
        assert_eq!(Served::start(command, "127.0.0.1:0").stop(), Some(0), "{round}");
    }
}

#[test]
fn ten_thousand_idle_connections_leave_it_answering() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let (folder, fleet) = fleet(50);
    folder.write_payloads("payloads", &fleet);
    folder.write_records("first.ndjson", &fleet.records[..1]);
    assert_eq!(folder.eds("ingest first.ndjson --payloads payloads --register keys.json").code, 0);
    let mut command = folder.command();
    // On a slow machine it takes long to open this many; none may be closed in the meantime.
    command.env("EDS_SERVE__LIMITS__HEADER_SECONDS", "600");
    let served = Served::start(command, "127.0.0.1:0");
    let address: std::net::SocketAddr = served.address().parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let idle = runtime.block_on(async {
        let mut idle = Vec::new();
        for at in 0..10_000 {
            // No address exceeds its limit.
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 1, 1 + (at % 4) as u8], 0).into()).unwrap();
            idle.push(socket.connect(address).await.unwrap());
        }
        idle
    });
    let run = push(&folder, &served, "export.ndjson");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    // All are still open: none was closed to make room.
    let open = idle.iter().filter(|stream| {
        matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert_eq!(open.count(), 10_000);
    assert_eq!(served.stop(), Some(0));
}

#[test]
fn every_attack_is_refused_without_effect_on_other_devices() {
    let folder = Folder::new();
    let made = folder.eds("--json token keeper --scope admin").envelope()["token"].clone();
    folder.write("admin.token", made["token"].as_str().unwrap());
    let entry = format!("[serve.tokens.keeper]\nhash = {}\nscopes = [\"admin\"]\n", made["hash"]);
    folder.write("eds.toml", entry);
    let start = |ledger: &str| {
        let mut command = folder.command();
        command.env("EDS_CONFIG", "eds.toml").env("EDS_LEDGER", ledger);
        Served::start(command, "127.0.0.1:0")
    };
    let (served, other) = (start("sqlite:edgesentry.db"), start("sqlite:other.db"));
    let url = &served.url;
    let both = format!("--url {url} --url {} --token-file admin.token", other.url);
    let run = folder.eds(&format!("--json inject {both} --count 3"));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let results = run.envelope()["inject"].as_array().unwrap().clone();
    let attacks = eds::attacks::ATTACKS;
    assert_eq!(results.len(), 2 * attacks.len());
    for (result, attack) in results.iter().zip(attacks.iter().chain(&attacks)) {
        assert_eq!(result["attack"], attack.name);
        assert_eq!((&result["answered_rightly"], &result["unharmed"]), (&json!(3), &json!(true)), "{result}");
        // A body that is not a record does not count as a rejection.
        let counted = if attack.is_rejection() { json!(3) } else { json!(null) };
        assert_eq!(result["counted"], counted, "{result}");
    }
    let text = folder.eds(&format!("inject {both} --attack forked")).stdout;
    assert!(text.contains(&format!("{url}\nok     forked")) && text.contains(&format!("{}\nok", other.url)));
    assert_eq!(other.stop(), Some(0));
    let one = format!("inject --url {url} --token-file admin.token --attack forked --count 5 --rate 100");
    assert!(folder.eds(&one).stdout.starts_with("ok     forked           409 fork "));
    let nobody = folder.eds(&format!("--json inject --url {url}"));
    assert_eq!((nobody.code, nobody.envelope()["error"]["code"].as_str()), (2, Some("not_admin")));
    assert_eq!(folder.eds(&format!("inject --url {url} --attack none")).code, 2);
    assert_eq!(served.stop(), Some(0));
    assert_eq!(folder.eds("verify-chain --ledger --registered --payload-store").code, 0);
}

/// A ledger with records that no checkpoint covers, and settings of a log with small batches.
fn logged(ledger: Option<&str>) -> Folder {
    let (folder, fleet) = fleet(600);
    folder.write_payloads("payloads", &fleet);
    let ledger =
        ledger.map_or_else(String::new, |url| format!("ledger = {url:?}\npayloads = \"folder:store\"\n"));
    let log = "[log]\norigin = \"log.example/lifts\"\nkey = \"log.seed\"\nstore = \"folder:log\"\n\
               interval_seconds = 1\nmax_records = 5\n";
    folder.write("eds.toml", format!("{ledger}{log}"));
    for made in ["log", "store"] {
        std::fs::create_dir(folder.path(made)).unwrap();
    }
    let ingest = "ingest export.ndjson --payloads payloads --register keys.json --config eds.toml";
    for line in [ingest, "checkpoint init --config eds.toml"] {
        let run = folder.eds(line);
        assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
    }
    folder
}

fn signed(folder: &Folder) -> usize {
    std::fs::read_dir(folder.path("log/log/lock")).map_or(0, Iterator::count)
}

/// Waits until there are this many signed checkpoints.
fn wait_for_checkpoints(folder: &Folder, number: usize) {
    for _ in 0..6000 {
        if signed(folder) >= number {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} of {number} checkpoints", signed(folder));
}

/// Checks that the log continues, that nothing is left over, and that it has every record once.
fn audited(folder: &Folder) {
    for line in [
        "checkpoint --config eds.toml",
        "checkpoint status --config eds.toml",
        "export -o out.parquet --log --config eds.toml",
    ] {
        let run = folder.eds(line);
        assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
    }
    let init = folder.eds("--json checkpoint init --config eds.toml").envelope();
    let key = init["checkpoint"]["verifier_key"].as_str().unwrap();
    folder.write("policy", format!("log {key}\nquorum none\n"));
    let verify = folder.eds(
        "--json verify-chain out.parquet --keys keys.json --checkpoint out.parquet.checkpoint --policy policy",
    );
    assert_eq!(verify.code, 0, "{}{}", verify.stdout, verify.stderr);
    assert_eq!(verify.envelope()["report"]["coverage"]["records"], 600, "{}", verify.stdout);
}

#[test]
fn a_log_that_is_stopped_within_a_batch_is_continued() {
    let folder = logged(None);
    let mut open_batches = 0;
    for round in 0..6 {
        let mut command = folder.command();
        command.env("EDS_CONFIG", "eds.toml");
        let served = Served::start(command, "127.0.0.1:0");
        wait_for_checkpoints(&folder, round * 8 + 2);
        assert_eq!(served.stop(), Some(0));
        let status = folder.eds("--json checkpoint status --config eds.toml");
        assert_eq!(status.code, 0, "{}{}", status.stdout, status.stderr);
        open_batches += i32::from(status.envelope()["checkpoint"]["batch_under_way"] == true);
    }
    assert!(open_batches > 0, "no stop was within a batch");
    audited(&folder);
}

#[test]
fn a_node_whose_leader_is_killed_writes_the_log() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ledger = runtime.block_on(database("log_leader"));
    let folder = logged(Some(&ledger));
    let start = || {
        let mut command = folder.command();
        command.env("EDS_CONFIG", "eds.toml");
        Served::start(command, "127.0.0.1:0")
    };
    let (mut nodes, mut kills) = ([start(), start()], 0);
    let leads = |node: &Served| get(node.address(), "/metrics").contains("\nedgesentry_log_leader 1\n");
    for round in 1..=4 {
        wait_for_checkpoints(&folder, round * 8);
        let leaders: Vec<usize> = (0..2).filter(|at| leads(&nodes[*at])).collect();
        assert!(leaders.len() < 2, "two leaders on one PostgreSQL");
        let Some(leader) = leaders.first() else { continue };
        nodes[*leader].kill();
        nodes[*leader] = start();
        kills += 1;
    }
    assert!(kills > 0, "no node has led");
    wait_for_checkpoints(&folder, 60);
    for node in nodes {
        assert_eq!(node.stop(), Some(0));
    }
    audited(&folder);
}

/// A database that accepts connections and does not respond: the service has not begun, so nothing of it is cut off.
#[test]
fn a_service_that_still_connects_stops_in_order() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    // It waits some seconds for each host.
    let hosts = vec![host; 50].join(",");
    let folder = Folder::new();
    let mut command = folder.command();
    command.args([
        "--json",
        "serve",
        "--ledger",
        &format!("postgres://{hosts}/audit"),
        "--payload-store",
        "folder:p",
    ]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let _connection = silent.accept().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(said.contains("before_listening"), "{said}");
}

#[test]
fn devices_and_the_log_are_administered_from_afar() {
    let folder = Folder::new();
    let token = |name: &str, scopes: &str| {
        let run = folder.eds(&format!("token {name} {scopes}"));
        assert_eq!(run.code, 0, "{}", run.stderr);
        folder.write(&format!("{name}.token"), run.stdout);
        run.stderr
    };
    let settings = token("admin", "--scope read --scope admin") + &token("reader", "--scope read");
    folder.write("eds.toml", settings);
    let mut command = folder.command();
    command.env("EDS_CONFIG", "eds.toml");
    let served = Served::start(command, "127.0.0.1:0");
    let url = &served.url;
    let eds =
        |line: &str, name: &str| folder.eds(&format!("--json {line} --url {url} --token-file {name}.token"));
    let key = Device::from_seed("lift-01", [1; 32], Scheme::Record).public_key().unwrap();
    let other = Device::from_seed("lift-01", [2; 32], Scheme::Record).public_key().unwrap();

    let refused = eds(&format!("device register lift-01 --public-key {key}"), "reader");
    let error = refused.envelope()["error"].clone();
    assert_eq!((refused.code, &error["code"]), (3, &json!("service")));
    assert!(error["message"].as_str().unwrap().contains("the token reader lacks the scope admin"), "{error}");
    let run = eds(&format!("device register lift-01 --public-key {key}"), "admin");
    assert_eq!((run.code, &run.envelope()["device"]["valid_from"]), (0, &json!(1)));
    let run = eds(&format!("device register lift-01 --public-key {other}"), "admin");
    assert_eq!((run.code, &run.envelope()["error"]["code"]), (2, &json!("registry")));
    assert_eq!(eds(&format!("device rotate ghost --public-key {other}"), "admin").code, 2);
    assert_eq!(eds(&format!("device rotate lift-01 --public-key {other} --valid-from 5"), "admin").code, 0);
    let list = eds("device list", "reader").envelope()["devices"].clone();
    assert_eq!(list, folder.eds("--json device list --ledger edgesentry.db").envelope()["devices"]);
    assert_eq!(list[0]["keys"][1]["valid_from"], 5);
    let ring = eds("device keys -o keys.json", "reader");
    assert_eq!((ring.code, &ring.envelope()["keys"]["lift-01"][1]["valid_from"]), (0, &json!(5)));
    assert_eq!(eds("device revoke lift-01", "admin").envelope()["device"]["revoked_from"], 1);
    assert_eq!(eds("log --tail 5", "reader").envelope()["log"]["entries"], json!([]));
    // The token of a file goes to one service, and a ledger is not named beside it.
    assert_eq!(folder.eds(&format!("device list --url {url} --ledger served.db")).code, 2);
    assert_eq!(folder.eds("device list --token-file admin.token").code, 2);
    assert_eq!(served.stop(), Some(0));
}
