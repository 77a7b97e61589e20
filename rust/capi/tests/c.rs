//! Programs in C and C++ use the library: linked both ways, under sanitizers and valgrind, and installed.
//!
//! `scripts/servers/install` installs the compilers and tools that the tests need.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

const C: &[&str] = &["-std=c11", "-D_POSIX_C_SOURCE=200809L"];
const CXX: &[&str] = &["-x", "c++", "-std=c++17"];
const STRICT: &[&str] = &["-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pthread"];
const VALGRIND: &[&str] =
    &["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"];
/// What the static library needs of the system.
const SYSTEM: &[&str] = &["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The directory of libedgesentry.a and libedgesentry.so of this build.
fn libraries() -> PathBuf {
    let binary = std::env::current_exe().unwrap();
    let folder = binary.parent().unwrap();
    assert!(folder.join("libedgesentry.a").exists(), "{} has no libedgesentry.a", folder.display());
    folder.to_owned()
}

fn run(program: impl AsRef<OsStr>, arguments: &[&OsStr]) -> String {
    let program = program.as_ref();
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{}: {error}; run scripts/servers/install", Path::new(program).display())
    });
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program:?} {arguments:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

fn words<'a>(words: &'a [&'a str]) -> impl Iterator<Item = &'a OsStr> {
    words.iter().map(OsStr::new)
}

/// A directory for the programs of one test, with the shared library under the name that programs load.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        symlink(libraries().join("libedgesentry.so"), folder.path().join("libedgesentry.so.1")).unwrap();
        Bench { folder }
    }

    /// Compiles a program, and returns its path.
    fn compile(&self, compiler: &str, source: &Path, options: &[&str], shared: bool) -> PathBuf {
        let program = self.folder.path().join(format!("program-{compiler}-{shared}"));
        let include = root().join("include");
        let mut arguments: Vec<&OsStr> = words(STRICT).chain(words(options)).collect();
        arguments.extend([OsStr::new("-I"), include.as_os_str(), source.as_os_str()]);
        // The language of the source is not that of the library.
        arguments.extend(words(&["-x", "none"]));
        let library = libraries().join("libedgesentry.a");
        let rpath = format!("-Wl,-rpath,{}", self.folder.path().display());
        let soname = self.folder.path().join("libedgesentry.so.1");
        if shared {
            arguments.extend([soname.as_os_str(), OsStr::new(&rpath)]);
        } else {
            arguments.push(library.as_os_str());
            arguments.extend(words(SYSTEM));
        }
        arguments.extend([OsStr::new("-o"), program.as_os_str()]);
        run(compiler, &arguments);
        program
    }
}

fn check_source() -> PathBuf {
    root().join("tests/c/check.c")
}

fn vectors() -> PathBuf {
    root().join("../../tests/vectors/device/records.tsv")
}

#[test]
fn c_and_cpp_programs_get_the_same_results_as_rust() {
    let bench = Bench::new();
    for (compiler, language, shared) in
        [("gcc", C, false), ("g++", CXX, true), ("clang", C, true), ("clang++", CXX, false)]
    {
        let program = bench.compile(compiler, &check_source(), language, shared);
        assert_eq!(run(&program, &[vectors().as_os_str()]), "ok\n", "{compiler}, shared: {shared}");
    }
}

/// The files of the outboxes of one run.
fn outboxes(bench: &Bench, name: &str) -> [PathBuf; 3] {
    ["one", "two", "three"].map(|file| bench.folder.path().join(format!("{name}-{file}.db")))
}

fn run_outbox(bench: &Bench, name: &str, before: &[&OsStr], program: &Path) -> String {
    let files = outboxes(bench, name);
    let mut arguments = before.to_vec();
    arguments.push(program.as_os_str());
    arguments.extend(files.iter().map(|file| file.as_os_str()));
    run(arguments[0], &arguments[1..])
}

#[test]
fn an_outbox_keeps_records_until_the_service_has_them() {
    let bench = Bench::new();
    let source = root().join("tests/c/outbox.c");
    for (compiler, language) in [("gcc", C), ("clang++", CXX)] {
        let program = bench.compile(compiler, &source, language, true);
        assert_eq!(run_outbox(&bench, compiler, &[], &program), "ok\n", "{compiler}");
    }
    let program = bench.compile("g++", &source, CXX, true);
    let valgrind: Vec<&OsStr> = [OsStr::new("valgrind")].into_iter().chain(words(VALGRIND)).collect();
    assert_eq!(run_outbox(&bench, "valgrind", &valgrind, &program), "ok\n");
}

/// A service with this behavior for each connection; returns its URL and the number of connections.
fn service(each: impl Fn(TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (number, each) = (Arc::new(AtomicUsize::new(0)), Arc::new(each));
    let counted = Arc::clone(&number);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            let each = Arc::clone(&each);
            std::thread::spawn(move || each(stream));
        }
    });
    (url, number)
}

/// Reads a request with its body.
fn read_request(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
}

/// A service that gives this response to each request, and then keeps the connection open.
fn answering(response: String) -> (String, Arc<AtomicUsize>) {
    service(move |mut stream| {
        loop {
            read_request(&stream);
            if stream.write_all(response.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// Writes a response that does not end, in pieces of this many bytes.
fn endless(begin: &'static str, piece: usize) -> (String, Arc<AtomicUsize>) {
    service(move |mut stream| {
        read_request(&stream);
        let mut written = stream.write_all(begin.as_bytes());
        while written.is_ok() {
            written = stream.write_all(&vec![b'x'; piece]);
            if piece == 1 {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    })
}

/// Statuses of the header.
const OUTBOX: i32 = 9;
const TRY_AGAIN: i32 = 10;

#[test]
fn a_service_that_misbehaves_costs_an_error_and_no_record() {
    let bench = Bench::new();
    let source = root().join("tests/c/http.c");
    let sanitized: Vec<&str> =
        C.iter().chain(&["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]).copied().collect();
    let program = bench.compile("gcc", &source, &sanitized, false);
    let (elsewhere, visits) = answering(String::new());
    let answer = |status: &str, headers: &str, body: &str| {
        answering(format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())).0
    };
    let accepted = r#"{"outcome":"accepted"}"#;
    let flush = |at: usize, url: &str, timeout_ms: &str| {
        let outbox = bench.folder.path().join(format!("{at}.db"));
        let [url, timeout_ms, token, ca] = [url, timeout_ms, "eds_secret", ""].map(OsStr::new);
        let said = run(&program, &[outbox.as_os_str(), url, timeout_ms, token, ca]);
        assert!(!said.contains("eds_secret"), "{said}");
        said
    };
    for (at, (url, timeout_ms, status, expected)) in [
        (
            answer("302 Found", &format!("location: {elsewhere}/api/v1/ingest/batch\r\n"), ""),
            "0",
            OUTBOX,
            "is not followed",
        ),
        (
            answer("307 Temporary Redirect", &format!("location: {elsewhere}\r\n"), ""),
            "0",
            OUTBOX,
            "is not followed",
        ),
        (
            answer("401 Unauthorized", "", r#"{"code":"unauthorized","detail":"no"}"#),
            "0",
            OUTBOX,
            "unauthorized",
        ),
        (
            answer("503 Service Unavailable", "retry-after: 86400\r\n", ""),
            "700",
            TRY_AGAIN,
            "time of the call",
        ),
        (answer("200 OK", "", ""), "0", TRY_AGAIN, "ended early"),
        (answer("200 OK", "", &accepted[..10]), "0", TRY_AGAIN, "ended early"),
        (answer("200 OK", "", "nonsense\n"), "0", TRY_AGAIN, "outcome"),
        (answering("nonsense\r\n\r\n".to_owned()).0, "0", TRY_AGAIN, "unreachable"),
        (endless("HTTP/1.1 200 OK\r\n\r\n", 1 << 16).0, "0", TRY_AGAIN, "docs/reference/http.md"),
        (endless("HTTP/1.1 200 OK\r\n\r\n", 1).0, "700", TRY_AGAIN, "unreachable"),
        (endless("HTTP/1.1 200 OK\r\nx: ", 1).0, "700", TRY_AGAIN, "unreachable"),
        (endless("HTTP/1.1 200 OK\r\nx: ", 1 << 16).0, "0", TRY_AGAIN, "unreachable"),
        // The program would end by SIGPIPE.
        (service(drop).0, "0", TRY_AGAIN, "unreachable"),
        (service(std::mem::forget).0, "700", TRY_AGAIN, "unreachable"),
        ("http://127.0.0.1:9".to_owned(), "0", TRY_AGAIN, "unreachable"),
    ]
    .into_iter()
    .enumerate()
    {
        let said = flush(at, &url, timeout_ms);
        assert!(said.starts_with(&format!("{status}, 1 wait: ")) && said.contains(expected), "{at}: {said}");
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0, "a redirect was followed");
    // After the outcome, the rest of a response without an end is not awaited.
    let (url, _) = endless("HTTP/1.1 200 OK\r\n\r\n{\"outcome\":\"accepted\"}\n", 1 << 16);
    assert_eq!(flush(100, &url, "0"), "0, 0 wait: \n");
    let valgrind: Vec<&OsStr> = [OsStr::new("valgrind")].into_iter().chain(words(VALGRIND)).collect();
    let program = bench.compile("g++", &source, CXX, true);
    let outbox = bench.folder.path().join("valgrind.db");
    let url = answer("200 OK", "", &format!("{accepted}\n"));
    let [url, timeout_ms, empty] = [url.as_str(), "0", ""].map(OsStr::new);
    let given = [program.as_os_str(), outbox.as_os_str(), url, timeout_ms, empty, empty];
    let arguments: Vec<&OsStr> = valgrind[1..].iter().copied().chain(given).collect();
    assert_eq!(run("valgrind", &arguments), "0, 0 wait: \n");
}

#[test]
fn updates_are_verified() {
    let bench = Bench::new();
    let folder = root().join("../../tests/vectors/update");
    let (manifest, keys) = (folder.join("version-6.manifest"), folder.join("publishers.keys"));
    let arguments = [manifest.as_os_str(), keys.as_os_str()];
    let source = root().join("tests/c/update.c");
    let sanitized: Vec<&str> =
        C.iter().chain(&["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]).copied().collect();
    for (compiler, options, shared) in
        [("gcc", &sanitized[..], false), ("g++", CXX, true), ("clang", C, true)]
    {
        let program = bench.compile(compiler, &source, options, shared);
        assert_eq!(run(&program, &arguments), "ok\n", "{compiler}");
    }
}

#[test]
fn updates_are_recorded_once() {
    let bench = Bench::new();
    let folder = root().join("../../tests/vectors/update");
    let (manifest, keys) = (folder.join("version-6.manifest"), folder.join("publishers.keys"));
    let source = root().join("tests/c/update_outbox.c");
    for (compiler, options) in [("gcc", C), ("clang++", CXX)] {
        let outbox = bench.folder.path().join(format!("{compiler}.outbox"));
        let arguments = [manifest.as_os_str(), keys.as_os_str(), outbox.as_os_str()];
        let program = bench.compile(compiler, &source, options, true);
        assert_eq!(run(&program, &arguments), "ok\n", "{compiler}");
    }
}

#[test]
fn the_sanitizers_find_nothing() {
    let bench = Bench::new();
    let options: Vec<&str> =
        C.iter().chain(&["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]).copied().collect();
    let program = bench.compile("gcc", &check_source(), &options, false);
    assert_eq!(run(&program, &[vectors().as_os_str()]), "ok\n");
}

#[test]
fn valgrind_finds_nothing() {
    let bench = Bench::new();
    let program = bench.compile("gcc", &check_source(), C, true);
    let mut arguments: Vec<&OsStr> = words(VALGRIND).collect();
    let vectors = vectors();
    arguments.extend([program.as_os_str(), vectors.as_os_str()]);
    assert_eq!(run("valgrind", &arguments), "ok\n");
}

/// Returns the functions of the header, each on one line.
fn prototypes(header: &str) -> BTreeSet<String> {
    let (_, header) = header.split_once("#define EDGESENTRY_H\n").unwrap();
    let lines =
        header.lines().filter(|line| !line.starts_with(['#', '/', ' ']) || line.starts_with("      "));
    let code = lines.filter(|line| !line.contains("extern \"C\"")).collect::<Vec<_>>().join(" ");
    let statements = code.split(';').map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|text| text.contains('(') && !text.contains("typedef")).collect()
}

#[test]
fn the_interface_is_the_one_that_was_kept() {
    let bench = Bench::new();
    let header = fs::read_to_string(root().join("include/edgesentry.h")).unwrap();
    let functions = prototypes(&header);
    let exported = run(
        "nm",
        &words(&["-D", "--defined-only", "--format=just-symbols"])
            .chain([libraries().join("libedgesentry.so").as_os_str()])
            .collect::<Vec<_>>(),
    );
    let exported: BTreeSet<&str> = exported.lines().collect();
    let name = |text: &str| text.split('(').next().unwrap().rsplit([' ', '*']).next().unwrap().to_owned();
    let declared: BTreeSet<String> = functions.iter().map(|text| name(text)).collect();
    assert_eq!(exported, declared.iter().map(String::as_str).collect(), "exported and declared functions");

    let layout = run(bench.compile("gcc", &root().join("tests/c/abi.c"), C, false), &[]);
    let constants =
        header.lines().filter(|line| line.starts_with("#define EDGESENTRY_") && !line.contains('{'));
    let constants = constants.filter(|line| line.split(' ').count() == 3 && !line.ends_with('\\'));
    let mut text = String::from(
        "# The binary interface of libedgesentry.so.1 (64 bit). Lines may be added. If one changes or is removed, programs\n\
         # must be compiled again: raise EDGESENTRY_ABI_VERSION and the number in the name of the library.\n",
    );
    for line in functions.iter().map(String::as_str).chain(constants).chain(layout.lines()) {
        text.push_str(line);
        text.push('\n');
    }
    let path = root().join("abi.txt");
    if std::env::var_os("EDGESENTRY_WRITE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert_eq!(kept, text, "{}: read its first lines, then run with EDGESENTRY_WRITE=1", path.display());
}

#[test]
fn an_installed_library_is_found_by_pkg_config_and_cmake() {
    let bench = Bench::new();
    let prefix = bench.folder.path().join("usr");
    let script = root().join("../../scripts/install-capi");
    run(&script, &[OsStr::new("--built"), libraries().as_os_str(), prefix.as_os_str()]);

    let source = root().join("../../examples/c/sign.c");
    let expected = "sequence 1 of lift-01 is signed and valid\nsequence 2 of lift-01 is signed and valid\n";
    for (mode, flags) in [
        ("shared", "pkg-config --cflags --libs edgesentry"),
        ("static", "pkg-config --cflags --libs --static edgesentry | sed s/-ledgesentry/-l:libedgesentry.a/"),
    ] {
        let program = bench.folder.path().join(mode);
        let (prefix, program) = (prefix.display(), program.display());
        let script = format!(
            "export PKG_CONFIG_PATH='{prefix}/lib/pkgconfig'; cc -o '{program}' '{}' $({flags}); \
             LD_LIBRARY_PATH='{prefix}/lib' '{program}'; ldd '{program}' | grep -c libedgesentry || true",
            source.display(),
        );
        let loaded = usize::from(mode == "shared");
        let printed = run("sh", &[OsStr::new("-ec"), OsStr::new(&script)]);
        assert_eq!(printed, format!("{expected}{loaded}\n"), "{mode}");
    }

    let project = bench.folder.path().join("project");
    fs::create_dir(&project).unwrap();
    let list = format!(
        "cmake_minimum_required(VERSION 3.16)\nproject(sign C)\nfind_package(edgesentry 0.1 REQUIRED)\n\
         add_executable(shared {0})\ntarget_link_libraries(shared edgesentry::edgesentry)\n\
         add_executable(static {0})\ntarget_link_libraries(static edgesentry::edgesentry-static)\n",
        source.canonicalize().unwrap().display()
    );
    fs::write(project.join("CMakeLists.txt"), list).unwrap();
    let build = bench.folder.path().join("build");
    let at_prefix = format!("-DCMAKE_PREFIX_PATH={}", prefix.display());
    let (from, to) = (project.as_os_str(), build.as_os_str());
    run("cmake", &[OsStr::new("-S"), from, OsStr::new("-B"), to, OsStr::new(&at_prefix)]);
    run("cmake", &[OsStr::new("--build"), to]);
    for program in ["shared", "static"] {
        assert_eq!(run(build.join(program), &[]), expected, "{program}");
    }
}
