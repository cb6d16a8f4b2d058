use super::*;

fn space() -> Space {
    let mut space = Space::default();
    space.vary("x=0..1").unwrap();
    space
}

fn began(trial: usize, worker: &str) -> Event {
    Event::Began { trial, values: [("x".into(), "0.5".into())].into(), worker: worker.into(), threads: 1 }
}

fn epoch(trial: usize, epoch: usize) -> Event {
    Event::Epoch { trial, epoch: Epoch { epoch, score: 0.1 + 0.2, seconds: 1.5 } }
}

fn append(journal: &mut Journal, event: Event) {
    journal.locked(|journal| journal.append(event)).unwrap();
}

#[test]
fn a_file_torn_at_any_byte_is_read_up_to_its_last_whole_line_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path(), space()).unwrap();
    append(&mut journal, began(0, "a"));
    append(&mut journal, epoch(0, 1));
    append(&mut journal, Event::Ended { trial: 0, state: State::Diverged("ü".into()) });
    let path = folder.path().join("journal.jsonl");
    let whole = std::fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let lines = whole[..length].iter().filter(|byte| **byte == b'\n').count();
        let mut journal = Journal::open(folder.path(), space()).unwrap();
        assert_eq!(journal.lines, lines, "cut at {length}");
        assert_eq!(journal.book().trials.len(), usize::from(lines > 0));
        // Whoever writes next leaves a file that is whole.
        append(&mut journal, began(usize::from(lines > 0), "b"));
        let again = Journal::open(folder.path(), space()).unwrap();
        assert_eq!(again.lines, lines + 1, "cut at {length}");
        assert_eq!(again.book().trials.last().unwrap().worker, "b");
    }
}

#[test]
fn several_writers_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = || {
        let mut journal = Journal::open(folder.path(), space()).unwrap();
        for _ in 0..25 {
            journal
                .locked(|journal| {
                    let next = journal.book().trials.len();
                    journal.append(began(next, "w"))?;
                    journal.append(epoch(next, 1))
                })
                .unwrap();
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|_| _ = scope.spawn(write));
    });
    let journal = Journal::open(folder.path(), space()).unwrap();
    assert_eq!(journal.book().trials.len(), 100);
    assert!(
        journal.book().trials.iter().all(|trial| trial.score() == Some(0.1 + 0.2)),
        "scores come back to the bit"
    );
}

#[test]
fn a_line_that_makes_no_sense_is_named() {
    for (line, part) in [
        (
            "{\"event\":\"epoch\",\"trial\":3,\"epoch\":1,\"score\":0.5,\"seconds\":1}",
            "trial 3 is not running",
        ),
        (
            "{\"event\":\"began\",\"trial\":1,\"values\":{\"y\":\"1\"},\"worker\":\"w\",\"threads\":1}",
            "not in the space",
        ),
        (
            "{\"event\":\"began\",\"trial\":7,\"values\":{\"x\":\"1\"},\"worker\":\"w\",\"threads\":1}",
            "comes after 1",
        ),
        ("nonsense", "expected"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        append(&mut Journal::open(folder.path(), space()).unwrap(), began(0, "a"));
        let path = folder.path().join("journal.jsonl");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str(line);
        text.push('\n');
        std::fs::write(&path, text).unwrap();
        let error = Journal::open(folder.path(), space()).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains(part), "{error}");
    }
}
