//! A team of threads for jobs of a millisecond and less.
//!
//! A job is split statically into as many parts as the team has threads, and part `t` is the same range in
//! every run: what a kernel sums per part is summed in the same order each time, whichever thread ran it.
//! Helpers spin for a moment after a job, as the next one usually follows at once, then park.
//!
//! ```text
//! caller   publish job ─ part 0 ─ (parts nobody began) ─ wait for the rest ─ return or panic
//! helper t    wake up  ─ part t ─ (parts nobody began) ─ spin ─ park
//! ```
//!
//! A part is claimed before it runs. So a helper that the operating system has put aside holds nobody up: the
//! caller takes its part. A call from inside a job, or while another thread's job runs, works through all
//! parts itself, with the same partition and thus the same result.

use std::any::Any;
use std::cell::Cell;
use std::hint::spin_loop;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread::{self, Thread};

/// How often a helper looks for the next job before it parks: some tenths of a millisecond.
const SPINS: usize = 15_000;

/// The threads a job is split over, where no [`with_threads`] says otherwise; zero: not chosen yet.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SCOPED: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The number of threads that jobs from this thread are split over; all of the machine's unless set.
pub fn threads() -> usize {
    SCOPED.get().unwrap_or_else(|| match THREADS.load(Relaxed) {
        0 => {
            let all = thread::available_parallelism().map_or(1, |n| n.get());
            THREADS.store(all, Relaxed);
            all
        }
        chosen => chosen,
    })
}

/// Splits jobs over `n` threads from now on.
///
/// # Panics
/// If `n` is zero.
pub fn set_threads(n: usize) {
    assert!(n > 0, "a job needs at least one thread");
    THREADS.store(n, Relaxed);
}

/// Runs `f`, with every job that it starts from this thread split over `n` threads.
///
/// # Panics
/// If `n` is zero.
pub fn with_threads<R>(n: usize, f: impl FnOnce() -> R) -> R {
    assert!(n > 0, "a job needs at least one thread");
    struct Restore(Option<usize>);
    impl Drop for Restore {
        fn drop(&mut self) {
            SCOPED.set(self.0);
        }
    }
    let _restore = Restore(SCOPED.replace(Some(n)));
    f()
}

/// Part `part` of `parts` of `0..n`: sizes differ by at most one.
pub fn part_of(n: usize, part: usize, parts: usize) -> Range<usize> {
    n * part / parts..n * (part + 1) / parts
}

/// Calls `f(part, range)` for each part of `0..n`, in parallel; returns when all are done. Empty parts are
/// skipped.
///
/// # Panics
/// With what the first part to panic panicked with, after all parts have ended.
pub fn split(n: usize, f: impl Fn(usize, Range<usize>) + Sync) {
    let parts = threads();
    run(parts.min(n), |part| {
        // With fewer units than threads each unit is a part of its own.
        f(part, part_of(n, part, parts.min(n)));
    });
}

/// Calls `f(part)` for each of `0..parts`, in parallel; returns when all are done.
///
/// # Panics
/// With what the first part to panic panicked with, after all parts have ended.
pub fn run(parts: usize, f: impl Fn(usize) + Sync) {
    let inline = || (0..parts).for_each(&f);
    if parts <= 1 {
        return inline();
    }
    match TEAM.try_lock() {
        Ok(mut team) => team.run(parts, &f),
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().run(parts, &f),
        Err(TryLockError::WouldBlock) => inline(),
    }
}

static TEAM: Mutex<Team> = Mutex::new(Team { helpers: Vec::new(), job: None });

struct Team {
    helpers: Vec<(Thread, Arc<Parked>)>,
    job: Option<Arc<Job>>,
}

/// Whether a helper sleeps, on its own cache line.
#[derive(Default)]
#[repr(align(128))]
struct Parked(AtomicBool);

/// A claim on one part, on its own cache line: the number of the job while it waits, zero once taken.
#[derive(Default)]
#[repr(align(128))]
struct Claim(AtomicUsize);

/// What caller and helpers share. The job in work is a thin pointer to a fat one (`&&dyn Fn`).
struct Job {
    number: AtomicUsize,
    body: AtomicPtr<()>,
    claims: Vec<Claim>,
    unfinished: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// No further job follows: a larger team has taken over.
    retired: AtomicBool,
}

impl Team {
    fn run<'f>(&mut self, parts: usize, f: &'f (dyn Fn(usize) + Sync + 'f)) {
        let job = self.job_for(parts);
        let number = job.number.load(Relaxed) + 1;
        let body: &&(dyn Fn(usize) + Sync) = &f;
        job.body.store(std::ptr::from_ref(body).cast_mut().cast(), Relaxed);
        job.unfinished.store(parts, Relaxed);
        for claim in &job.claims[..parts] {
            claim.0.store(number, Release); // a successful claim sees `body`
        }
        job.number.store(number, SeqCst); // before `parked` is read: see `help`
        for (helper, parked) in &self.helpers[..parts - 1] {
            if parked.0.load(SeqCst) {
                helper.unpark();
            }
        }
        job.work(0, number, parts);
        let mut spins = 0;
        while job.unfinished.load(Acquire) != 0 {
            spins += 1;
            if spins < SPINS { spin_loop() } else { thread::yield_now() }
        }
        // `f` is not used any more from here on: every claim was taken, and every taken part is finished.
        let panic = job.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    /// The shared state with at least `parts` claims, and helpers for all parts but the caller's.
    fn job_for(&mut self, parts: usize) -> Arc<Job> {
        if let Some(job) = &self.job
            && job.claims.len() >= parts
        {
            return Arc::clone(job);
        }
        if let Some(smaller) = self.job.take() {
            smaller.retired.store(true, SeqCst);
            self.helpers.drain(..).for_each(|(helper, _)| helper.unpark());
        }
        let job = Arc::new(Job {
            number: AtomicUsize::new(0),
            body: AtomicPtr::default(),
            claims: (0..parts).map(|_| Claim::default()).collect(),
            unfinished: AtomicUsize::new(0),
            panic: Mutex::new(None),
            retired: AtomicBool::new(false),
        });
        for part in 1..parts {
            let parked = Arc::new(Parked::default());
            let (job, mark) = (Arc::clone(&job), Arc::clone(&parked));
            let helper = thread::Builder::new()
                .name(format!("tailor-kernels-{part}"))
                .spawn(move || job.help(part, &mark))
                .expect("the system can start a thread");
            self.helpers.push((helper.thread().clone(), parked));
        }
        self.job = Some(Arc::clone(&job));
        job
    }
}

impl Job {
    /// Runs part `first`, then every part that nobody has begun.
    fn work(&self, first: usize, number: usize, parts: usize) {
        for offset in 0..parts {
            let part = (first + offset) % parts;
            if self.claims[part].0.compare_exchange(number, 0, Acquire, Relaxed).is_err() {
                continue;
            }
            // SAFETY: the part was open, so the caller of this job still waits in `Team::run`, where `body`
            // and what it refers to live; it cannot leave before `unfinished` falls below.
            let body = unsafe { *self.body.load(Relaxed).cast::<&(dyn Fn(usize) + Sync)>() };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| body(part))) {
                lock(&self.panic).get_or_insert(payload);
            }
            self.unfinished.fetch_sub(1, Release);
        }
    }

    /// A helper's life.
    fn help(&self, part: usize, parked: &Parked) {
        let mut seen = 0;
        let mut spins = 0;
        while !self.retired.load(Relaxed) {
            let number = self.number.load(SeqCst);
            if number != seen {
                seen = number;
                spins = 0;
                self.work(part, number, self.claims.len());
            } else if spins < SPINS {
                spins += 1;
                spin_loop();
            } else {
                // Either this sees the next job's number, or its caller sees `parked`: both are SeqCst.
                parked.0.store(true, SeqCst);
                if self.number.load(SeqCst) == seen && !self.retired.load(SeqCst) {
                    thread::park();
                }
                parked.0.store(false, SeqCst);
                spins = 0;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    /// Every unit is visited once, whatever the numbers of units and threads.
    #[test]
    fn each_unit_runs_once() {
        for threads in [1, 2, 3, 8] {
            for n in [0, 1, 2, 5, 64, 1001] {
                let visits: Vec<AtomicU32> = (0..n).map(|_| AtomicU32::new(0)).collect();
                with_threads(threads, || {
                    split(n, |_, range| range.for_each(|i| _ = visits[i].fetch_add(1, Relaxed)));
                });
                assert!(visits.iter().all(|v| v.load(Relaxed) == 1), "{n} units on {threads} threads");
            }
        }
    }

    #[test]
    fn parts_cover_the_range_in_order() {
        for (n, parts) in [(10, 3), (2, 2), (64, 7)] {
            let ends: Vec<_> = (0..parts).map(|p| part_of(n, p, parts)).collect();
            assert_eq!((ends[0].start, ends[parts - 1].end), (0, n));
            assert!(ends.windows(2).all(|w| w[0].end == w[1].start));
        }
    }

    #[test]
    fn nested_and_concurrent_jobs_finish() {
        let total = AtomicU32::new(0);
        thread::scope(|scope| {
            for threads in 1..=4 {
                let total = &total;
                scope.spawn(move || {
                    with_threads(threads, || {
                        for _ in 0..200 {
                            split(10, |_, outer| {
                                for _ in outer {
                                    split(3, |_, inner| _ = total.fetch_add(inner.len() as u32, Relaxed));
                                }
                            });
                        }
                    });
                });
            }
        });
        assert_eq!(total.load(Relaxed), 4 * 200 * 10 * 3);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_lives_on() {
        for bad in 0..3 {
            let outcome = catch_unwind(|| {
                with_threads(3, || run(3, |part| assert!(part != bad, "part {part} failed")));
            });
            let message = *outcome.expect_err("it panics").downcast::<String>().expect("with a message");
            assert_eq!(message, format!("part {bad} failed"));
        }
        let done = AtomicU32::new(0);
        run(3, |_| _ = done.fetch_add(1, Relaxed));
        assert_eq!(done.load(Relaxed), 3);
    }
}
