//! Downloads from a small HTTP server in this process.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tailor_data::{Published, Sum, fetch};

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
    /// Knows no ranges and sends the whole.
    NoRanges,
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
    let mut first = 0;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
            first = range.trim_end_matches('-').parse().unwrap();
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
        _ => {}
    }
    let first = if matches!(answer, Answer::NoRanges) { 0 } else { first };
    let length = body.len() - first;
    match first {
        0 => write!(stream, "HTTP/1.1 200 OK\r\n")?,
        _ => {
            let (last, all) = (body.len() - 1, body.len());
            write!(stream, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{all}\r\n")?;
        }
    }
    write!(stream, "Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
    let sent = if matches!(answer, Answer::Half) { length / 2 } else { length };
    stream.write_all(&body[first..first + sent])
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
        Case("train-images-idx3-ubyte.gz", Answer::Missing, "404"),
        Case("train-images-idx3-ubyte.gz", Answer::Endless, "it sends more than the 47041040 bytes"),
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
fn a_download_that_was_cut_off_goes_on_from_there() {
    let file = "t10k-images-idx3-ubyte.gz";
    for second in [Answer::Half, Answer::Whole, Answer::NoRanges] {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("fashion-mnist");
        let half = Server::start(file, Answer::Half);
        let error =
            fetch("fashion-mnist", cache.path(), Some(&half.address), &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("{}/{file}", half.address)), "{error}");
        assert!(error.contains("goes on from there"), "{error}");
        let whole = fs::read(official().join(file)).unwrap();
        let part = folder.join(format!(".{file}.part"));
        let arrived = fs::read(&part).unwrap();
        assert!(!arrived.is_empty() && whole[..whole.len() / 2].starts_with(&arrived));
        assert!(!folder.join(file).exists());

        let server = Server::start(file, second);
        let mut least = u64::MAX;
        let result = fetch("fashion-mnist", cache.path(), Some(&server.address), &mut |progress| {
            if progress.file == file {
                least = least.min(progress.bytes);
            }
        });
        match second {
            Answer::Half => {
                assert!(result.is_err());
                let more = fs::read(&part).unwrap();
                assert!(more.len() > arrived.len() && whole.starts_with(&more));
            }
            _ => {
                result.unwrap();
                assert!(fs::read(folder.join(file)).unwrap() == whole);
                assert!(!part.exists());
            }
        }
        let begins = if matches!(second, Answer::NoRanges) { 0 } else { arrived.len() as u64 };
        assert_eq!(least, begins);
    }
}

#[test]
fn a_single_published_file_is_fetched_once_and_checked() {
    let name = "t10k-labels-idx1-ubyte.gz";
    // The sum is of what the file holds unpacked.
    let right = Published {
        title: "some labels",
        name: "labels.gz",
        url: "http://nowhere.invalid/",
        bytes: 10_008,
        sum: Sum::from_hexadecimal(b"0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    };
    let other = b"bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9";
    let wrong = Published { sum: Sum::from_hexadecimal(other), ..right };
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start("", Answer::Whole);
    let url = format!("{}/{name}", server.address);
    let error = wrong.fetch(cache.path(), Some(&url), &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("some labels") && error.contains(&url), "{error}");
    assert!(names(cache.path()).is_empty());

    let path = right.fetch(cache.path(), Some(&url), &mut |_| ()).unwrap();
    assert!(fs::read(&path).unwrap() == fs::read(official().join(name)).unwrap());
    assert_eq!(right.find(cache.path()), Some(path));
    assert_eq!(wrong.find(cache.path()), None);
    right.fetch(cache.path(), Some(&url), &mut |_| ()).unwrap();
    assert_eq!(server.requests.load(Ordering::Relaxed), 2);
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
