//! TLS, client certificates, the network policy, tokens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use edgesentry_rs::transport::{Client, ClientSettings};
use edgesentry_rs::{Error, Outcome};
use edgesentry_serve::{Server, Stopped, hash_of_token};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::common::{Kind, Place, devices, next};
use crate::serving::{Serving, settings};
use crate::single::poll;

/// An authority and the certificates that it has issued.
pub struct Authority {
    pub folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "EdgeSentry test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { folder: TempDir::new().unwrap(), issuer };
        std::fs::write(authority.path("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Issues a certificate for these names, as `file.pem` and `file.key`.
    pub fn issue(&self, file: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (certificate_file, key_file) =
            (self.path(&format!("{file}.pem")), self.path(&format!("{file}.key")));
        write(&key_file, &key.serialize_pem());
        write(&certificate_file, &certificate.pem());
        (certificate_file, key_file)
    }

    pub fn serve(&self, more: &str) -> String {
        let (certificate, key) = self.issue("server", &["localhost", "127.0.0.1"]);
        format!("[serve.tls]\ncertificate = {:?}\nkey = {:?}\nreload_seconds = 1\n{more}", certificate, key)
    }
}

/// Writes atomically, as tools that renew certificates should.
fn write(path: &Path, text: &str) {
    let part = path.with_extension("part");
    std::fs::write(&part, text).unwrap();
    // Keys are readable by their owner only.
    std::fs::set_permissions(&part, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::rename(&part, path).unwrap();
}

fn client(serving: &Serving, authority: &Authority, identity: Option<(PathBuf, PathBuf)>) -> Client {
    let settings = ClientSettings {
        ca: Some(authority.path("ca.pem")),
        identity,
        attempts: 2,
        ..ClientSettings::new(format!("https://localhost:{}", serving.address.port()))
    };
    Client::new(settings).unwrap()
}

fn code(answer: Result<Outcome, Error>) -> String {
    match answer {
        Ok(Outcome::Rejected(rejection)) => rejection.code.name().to_owned(),
        Ok(outcome) => outcome.name().to_owned(),
        Err(Error::Service { code, .. }) => code.to_string(),
        Err(error) => error.code().to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_loaded_again_while_connections_live() {
    let authority = Authority::new();
    let place = Place::new(Kind::Sqlite).await;
    let serving = Serving::with(place.service().await, &settings(&authority.serve(""))).await;
    let mut lift = devices(&*place.ledger().await, 1).await.remove(0);
    let old = client(&serving, &authority, None);
    let first = next(&mut lift);
    assert_eq!(code(old.ingest(first.clone()).await), "accepted");
    // Another authority replaces the old one: its clients can connect, those of the old one cannot.
    let other = Authority::new();
    let (certificate, key) = other.issue("server", &["localhost"]);
    std::fs::rename(key, authority.path("server.key")).unwrap();
    std::fs::rename(certificate, authority.path("server.pem")).unwrap();
    let renewed = poll(|| async {
        // Kept busy, so that its connection stays open.
        assert_eq!(code(old.ingest(first.clone()).await), "duplicate");
        code(client(&serving, &other, None).ingest(next(&mut lift.clone())).await) == "accepted"
    });
    assert!(renewed.await, "the new certificate is not in use");
    lift = lift.clone().resume(crate::common::head(&*place.ledger().await, "lift-01").await);
    assert_eq!(code(client(&serving, &authority, None).ingest(next(&mut lift.clone())).await), "unreachable");
    // The existing connection is not affected.
    assert_eq!(code(old.ingest(next(&mut lift)).await), "accepted");
    // Invalid files change nothing.
    write(&authority.path("server.pem"), "nonsense");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(code(client(&serving, &other, None).ingest(next(&mut lift)).await), "accepted");
    assert_eq!(serving.stop().await, Stopped::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_sends_for_its_own_device_only() {
    let authority = Authority::new();
    let token = "eds_gateway";
    let toml = authority.serve(&format!(
        "client_ca = {:?}\n[serve.tokens.gateway]\nhash = \"{}\"\nscopes = [\"ingest\"]\ndevices = \"lift-02\"\n",
        authority.path("ca.pem"),
        hash_of_token(token)
    ));
    let place = Place::new(Kind::Sqlite).await;
    let serving = Serving::with(place.service().await, &settings(&toml)).await;
    let mut lifts = devices(&*place.ledger().await, 2).await;
    let (first, second) = (next(&mut lifts[0]), next(&mut lifts[1]));
    let own = client(&serving, &authority, Some(authority.issue("lift-01", &["lift-01"])));
    assert_eq!(code(own.ingest(second.clone()).await), "device_mismatch");
    let answers = own.ingest_many(vec![first.clone(), second.clone()]).await;
    assert_eq!(answers.into_iter().map(code).collect::<Vec<_>>(), ["accepted", "device_mismatch"]);
    // Without a certificate and a token the sender is unauthenticated.
    assert_eq!(code(client(&serving, &authority, None).ingest(first.clone()).await), "unauthenticated");
    let with_token = |token: &str| {
        let settings = ClientSettings {
            ca: Some(authority.path("ca.pem")),
            token: Some(token.to_owned().into()),
            ..ClientSettings::new(format!("https://127.0.0.1:{}", serving.address.port()))
        };
        Client::new(settings).unwrap()
    };
    assert_eq!(code(with_token("wrong").ingest(second.clone()).await), "unauthenticated");
    assert_eq!(code(with_token(token).ingest(first).await), "device_mismatch");
    assert_eq!(code(with_token(token).ingest(second.clone()).await), "accepted");
    // The service trusts no other authority, for any name in its certificates.
    let stranger = Authority::new();
    let forged = client(&serving, &authority, Some(stranger.issue("lift-02", &["lift-02"])));
    assert_eq!(code(forged.ingest(second).await), "unreachable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_certificate_is_enforced_in_the_handshake() {
    let authority = Authority::new();
    let toml = authority
        .serve(&format!("client_ca = {:?}\nrequire_client_certificate = true", authority.path("ca.pem")));
    let place = Place::new(Kind::Sqlite).await;
    let serving = Serving::with(place.service().await, &settings(&toml)).await;
    let mut lift = devices(&*place.ledger().await, 1).await.remove(0);
    let first = next(&mut lift);
    assert_eq!(code(client(&serving, &authority, None).ingest(first.clone()).await), "unreachable");
    let own = client(&serving, &authority, Some(authority.issue("lift-01", &["lift-01"])));
    assert_eq!(code(own.ingest(first).await), "accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn disallowed_addresses_are_refused_before_tls() {
    let authority = Authority::new();
    let toml = format!("allow = [\"10.0.0.0/8\", \"::ffff:127.0.0.2/128\"]\n{}", authority.serve(""));
    let place = Place::new(Kind::Sqlite).await;
    let serving = Serving::with(place.service().await, &settings(&toml)).await;
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    let mut answer = Vec::new();
    // Closed or reset, without a TLS message.
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
    let mut lift = devices(&*place.ledger().await, 1).await.remove(0);
    assert_eq!(code(client(&serving, &authority, None).ingest(next(&mut lift)).await), "unreachable");
    // Another address of this machine is allowed, and reaches the handshake.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(serving.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"no TLS at all, not by a long way").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    // A TLS alert.
    assert_eq!(answer.first(), Some(&0x15), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_can_read_is_refused() {
    let authority = Authority::new();
    let place = Place::new(Kind::Sqlite).await;
    let toml = authority.serve("");
    let (certificate, device_key) = authority.issue("lift-01", &["lift-01"]);
    let chmod = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    // A group may read a key only if it belongs to root.
    for (mode, taken) in [(0o644, false), (0o604, false), (0o660, false), (0o600, true), (0o400, true)] {
        chmod(&authority.path("server.key"), mode);
        chmod(&device_key, mode);
        let server = Server::bind(place.service().await, &settings(&toml)).await;
        let client = ClientSettings {
            identity: Some((certificate.clone(), device_key.clone())),
            ca: Some(authority.path("ca.pem")),
            ..ClientSettings::new("https://localhost:1")
        };
        for problem in [server.err(), Client::new(client).err()] {
            match problem.map(|problem| edgesentry_rs::error::describe(&problem)) {
                None => assert!(taken, "{mode:o}"),
                Some(problem) => assert!(!taken && problem.contains("chmod 600"), "{mode:o}: {problem}"),
            }
        }
    }
}

#[test]
fn a_token_that_crosses_a_network_in_plain_text_is_warned_of() {
    let exposure = |url: &str, token: Option<&str>| {
        let token = token.map(|token| token.to_owned().into());
        ClientSettings { token, ..ClientSettings::new(url) }.exposure()
    };
    let warning = exposure("http://audit.example:8080", Some("eds_secret")).unwrap();
    assert!(warning.contains("audit.example") && !warning.contains("secret"), "{warning}");
    assert!(exposure("http://10.0.0.1", Some("eds_secret")).is_some());
    for url in ["https://audit.example", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
        assert_eq!(exposure(url, Some("eds_secret")), None, "{url}");
    }
    assert_eq!(exposure("http://audit.example", None), None);
}
