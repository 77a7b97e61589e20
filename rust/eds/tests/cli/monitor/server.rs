//! A server of files that fails as real ones do.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The response to a request.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    /// The file, or 404.
    File,
    /// A status without the file.
    Status(u16),
    /// A page of a proxy, with status 200.
    Page,
    /// Half of the file under its full length.
    Truncated,
    /// The file with its last bytes changed.
    Garbled,
    /// No response.
    Hang,
    /// A response without an end.
    Endless,
}

type Rule = Box<dyn Fn(&str, usize) -> Reply + Send>;

/// Serves a directory until the test ends.
pub(super) struct FileServer {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    rule: Rule,
    paths: Vec<String>,
}

impl FileServer {
    pub(super) fn start(folder: &Path) -> FileServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/log", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { rule: Box::new(|_, _| Reply::File), paths: Vec::new() }));
        let (shared, folder) = (Arc::clone(&state), folder.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (shared, folder) = (Arc::clone(&shared), folder.clone());
                // A client that goes away is not a failure of the test.
                std::thread::spawn(move || drop(answer(client, &folder, &shared)));
            }
        });
        FileServer { url, state }
    }

    /// Sets the response by path and number of the request.
    pub(super) fn rule(&self, rule: impl Fn(&str, usize) -> Reply + Send + 'static) {
        self.state.lock().unwrap().rule = Box::new(rule);
    }

    /// Returns the requested paths since the last call.
    pub(super) fn take_paths(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().paths)
    }
}

fn answer(mut client: TcpStream, folder: &Path, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header == "\r\n" {
            break;
        }
    }
    let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches("/log/").to_owned();
    let reply = {
        let mut state = state.lock().unwrap();
        let number = state.paths.len();
        state.paths.push(path.clone());
        (state.rule)(&path, number)
    };
    let file = std::fs::read(folder.join(&path));
    let send = |client: &mut TcpStream, status: u16, length: usize, body: &[u8]| {
        write!(client, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")?;
        client.write_all(body)
    };
    match (reply, file) {
        (Reply::Hang, _) => std::thread::sleep(std::time::Duration::from_secs(600)),
        (Reply::Endless, _) => {
            write!(client, "HTTP/1.1 200 X\r\nconnection: close\r\n\r\n")?;
            let block = [b'A'; 1 << 16];
            while client.write_all(&block).is_ok() {}
        }
        (Reply::Status(status), _) => send(&mut client, status, 0, b"")?,
        (Reply::Page, _) => send(&mut client, 200, 22, b"<html>sign in</html>\r\n")?,
        (_, Err(_)) => send(&mut client, 404, 0, b"")?,
        (Reply::File, Ok(bytes)) => send(&mut client, 200, bytes.len(), &bytes)?,
        (Reply::Truncated, Ok(bytes)) => send(&mut client, 200, bytes.len(), &bytes[..bytes.len() / 2])?,
        (Reply::Garbled, Ok(mut bytes)) => {
            let length = bytes.len();
            bytes[length - 1] ^= 1;
            send(&mut client, 200, length, &bytes)?;
        }
    }
    Ok(())
}
