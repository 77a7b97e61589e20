//! `eds push` through a proxy that the environment names.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use crate::serve::Served;
use crate::{Folder, fleet};

/// Starts a proxy that forwards everything to one address; returns its URL, and the first line of each connection.
fn proxy(to: Option<String>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let (lines, said) = channel();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let _ = lines.send(line.clone());
            if let Some(to) = &to {
                let server = TcpStream::connect(to).unwrap();
                std::thread::spawn(move || hand_on(&line, reader, &client, &server));
            }
        }
    });
    (url, said)
}

fn hand_on(line: &str, mut reader: BufReader<TcpStream>, mut client: &TcpStream, mut server: &TcpStream) {
    server.write_all(line.as_bytes()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = std::io::copy(&mut server, &mut client);
            let _ = client.shutdown(Shutdown::Both);
        });
        let _ = std::io::copy(&mut reader, &mut server);
        let _ = server.shutdown(Shutdown::Both);
    });
}

/// Pushes to a service whose name only the proxy can resolve.
fn push(folder: &Folder, url: &str, proxy: &str) -> std::process::Output {
    let mut command = folder.command();
    command.args(["push", "--url", url, "--payloads", "payloads", "--attempts", "1", "export.ndjson"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY"] {
        command.env_remove(name.to_lowercase()).env(name, proxy);
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap()
}

#[test]
fn a_request_without_tls_is_forwarded() {
    let (folder, fleet) = fleet(20);
    folder.write_payloads("payloads", &fleet);
    let run = folder.eds("ingest export.ndjson --payloads payloads --register keys.json");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let served = Served::start(folder.command(), "127.0.0.1:0");
    let (url, said) = proxy(Some(served.address().to_owned()));
    let output = push(&folder, "http://audit.example", &url);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.recv().unwrap(), "POST http://audit.example/api/v1/ingest/batch HTTP/1.1\r\n");
    // A service on this machine is reached without the proxy.
    assert_eq!(push(&folder, &format!("http://{}", served.address()), &url).status.code(), Some(0));
    assert!(said.try_recv().is_err());
}

#[test]
fn tls_goes_through_a_tunnel() {
    let (folder, fleet) = fleet(20);
    folder.write_payloads("payloads", &fleet);
    let (url, said) = proxy(None);
    let output = push(&folder, "https://audit.example", &url);
    assert_eq!(said.recv().unwrap(), "CONNECT audit.example:443 HTTP/1.1\r\n");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains(&format!("(through the proxy {url}/)")), "{error}");
}
