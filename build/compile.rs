//! Compilations: each is run only if what it reads has changed, several at a time.

use crate::sources;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Why the build fails, for the person who builds.
#[derive(Debug)]
pub struct Failure(pub String);

/// One file to compile.
#[derive(Debug)]
pub struct Job {
    /// The source file.
    pub source: PathBuf,
    /// The compiler with all its arguments; one that starts with `-o` is not needed.
    pub command: Command,
    /// The file that it makes. What the compiler says is kept beside it, in `.log`; the digest of all that went in,
    /// in `.digest`.
    pub output: PathBuf,
}

impl Job {
    /// What the output depends on: the command, the source and all that it includes.
    fn digest(&self) -> Result<String, Failure> {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.command).hash(&mut hasher);
        sources::with_includes(&self.source)?.hash(&mut hasher);
        Ok(format!("{:016x}", hasher.finish()))
    }

    fn run(&mut self) -> Result<(), Failure> {
        let digest = self.digest()?;
        let kept = self.output.with_extension("digest");
        if self.output.is_file() && std::fs::read_to_string(&kept).is_ok_and(|found| found == digest) {
            return Ok(());
        }
        // Without a digest an output that a stopped compiler leaves behind is never taken for whole.
        let _ = std::fs::remove_file(&kept);
        let source = self.source.display().to_string();
        let done = self.command.arg("-o").arg(&self.output).arg(&self.source).output();
        let done = done.map_err(|error| Failure(format!("{source}: {:?}: {error}", self.command)))?;
        let said =
            String::from_utf8_lossy(&done.stderr).into_owned() + &String::from_utf8_lossy(&done.stdout);
        if !done.status.success() {
            return Err(Failure(format!("{source} does not compile:\n{:?}\n{said}", self.command)));
        }
        write(&self.output.with_extension("log"), &said)?;
        write(&kept, &digest)
    }
}

/// Runs all jobs, as many at a time as cargo allows; all failures are reported, not the first alone.
pub fn run(jobs: Vec<Job>) -> Result<(), Failure> {
    let workers = std::env::var("NUM_JOBS").ok().and_then(|n| n.parse::<usize>().ok()).unwrap_or(1);
    let mut jobs = jobs;
    // The largest source takes longest and is started first: jobs are taken from the end.
    jobs.sort_by_key(|job| std::fs::metadata(&job.source).map_or(0, |found| found.len()));
    let (waiting, failures) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    let next = || waiting.lock().ok()?.pop();
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                while let Some(mut job) = next() {
                    if let (Err(Failure(message)), Ok(mut failures)) = (job.run(), failures.lock()) {
                        failures.push(message);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_default();
    if failures.is_empty() { Ok(()) } else { Err(Failure(failures.join("\n"))) }
}

/// Writes a generated file, untouched where it says the same already.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if std::fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let failed = |error: std::io::Error| Failure(format!("{}: {error}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}
