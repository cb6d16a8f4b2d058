//! Downloads from a small HTTP server in this process.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tailor_data::fetch;

/// What the server does with a file that is asked for.
#[derive(Clone, Copy)]
enum Answer {
    Whole,
    /// Announces all and sends half.
    Half,
    /// Sends the content of another file.
    Wrong,
    Endless,
    Missing,
}

/// A server of the repository's Fashion-MNIST that treats one file in its own way.
struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
}

fn official() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/fashion-mnist")
}

impl Server {
    fn start(file: &'static str, answer: Answer) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::Relaxed);
                // A client that hangs up early is part of the tests.
                let _ = respond(stream, file, answer);
            }
        });
        Server { address, requests }
    }
}

fn respond(mut stream: TcpStream, special: &str, answer: Answer) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let name = request.split(' ').nth(1).unwrap_or("").trim_start_matches('/');
    let answer = if name == special { answer } else { Answer::Whole };
    let name = if matches!(answer, Answer::Wrong) { "t10k-labels-idx1-ubyte.gz" } else { name };
    let body = fs::read(official().join(name)).unwrap_or_default();
    match answer {
        Answer::Missing => {
            return write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        Answer::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[0; 4096])?;
            }
        }
        _ => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?
        }
    }
    let sent = if matches!(answer, Answer::Half) { body.len() / 2 } else { body.len() };
    stream.write_all(&body[..sent])
}

/// Everything in a folder, also what is hidden.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn four_files_arrive_and_are_not_fetched_again() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start("", Answer::Whole);
    let mut last = HashMap::new();
    let folder = fetch("fashion-mnist", cache.path(), Some(&server.address), &mut |progress| {
        last.insert(progress.file.to_owned(), (progress.bytes, progress.total));
    })
    .unwrap();
    assert_eq!(folder, cache.path().join("fashion-mnist"));
    assert_eq!(names(&folder).len(), 4);
    assert_eq!(last["t10k-labels-idx1-ubyte.gz"], (5125, Some(5125)));
    for name in names(&folder) {
        assert!(fs::read(folder.join(&name)).unwrap() == fs::read(official().join(&name)).unwrap(), "{name}");
    }

    // The second time only what is damaged.
    fs::write(folder.join("t10k-labels-idx1-ubyte.gz"), b"something else").unwrap();
    fetch("fashion-mnist", cache.path(), Some(&server.address), &mut |_| ()).unwrap();
    assert_eq!(server.requests.load(Ordering::Relaxed), 5);
}

#[test]
fn what_arrives_wrong_is_explained_and_leaves_nothing() {
    struct Case(&'static str, Answer, &'static str);
    for Case(file, answer, reason) in [
        Case("train-images-idx3-ubyte.gz", Answer::Half, "cannot download"),
        Case("train-images-idx3-ubyte.gz", Answer::Missing, "404"),
        Case("train-images-idx3-ubyte.gz", Answer::Endless, "it sends more than the 47040016 bytes"),
        Case("train-images-idx3-ubyte.gz", Answer::Wrong, "not the official file of Fashion-MNIST"),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start(file, answer);
        let error =
            fetch("fashion-mnist", cache.path(), Some(&server.address), &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains(reason), "expected {reason:?} in {error:?}");
        assert!(error.contains(&format!("{}/{file}", server.address)), "{error}");
        assert!(names(&cache.path().join("fashion-mnist")).is_empty(), "{reason}");
    }
}

#[test]
fn a_refused_connection_names_the_address_and_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let address = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let error = fetch("mnist", cache.path(), Some(&address), &mut |_| ()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot download {address}/train-images-idx3-ubyte.gz: ")), "{error}");
    assert!(error.contains("check the network, or put the file at "), "{error}");
}

#[test]
fn an_unknown_name_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let error = fetch("../elsewhere", cache.path(), None, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("known are fashion-mnist and mnist"), "{error}");
}
