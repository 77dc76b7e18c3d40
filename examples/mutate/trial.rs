//! A library of kernels on trial: the cases that launch them, under several schedules, in a process of its own, which
//! may crash or hang.

use sargent::device::cpu::Cpu;
use sargent::device::cuda::emulated::Emulated;
use sargent::device::{Choice, Device, choose};
use sargent::doctor::{self, Case, Outputs, Scale, cases};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Schedules that every case runs under.
const SEEDS: u64 = 5;

/// How often the parent looks whether a trial is over.
const GLANCE: Duration = Duration::from_millis(20);

/// What to try.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trial {
    /// The library; loading it puts its kernels in place.
    pub library: PathBuf,
    /// The cases, by their numbers in the table.
    pub cases: Vec<usize>,
    /// Whether the library's kernels are checked ones, for which one schedule says as much as all.
    pub checked: bool,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Every case is as it should be.
    Survived,
    /// What gave the mutant away, in a word and at length.
    Killed(String, String),
}

impl Outcome {
    /// Killed.
    pub fn killed(by: &str, how: impl Into<String>) -> Self {
        Self::Killed(by.to_owned(), how.into())
    }
}

/// The numbers of the small cases that launch one of `symbols`.
pub fn cases_of(symbols: &[String]) -> Result<Vec<usize>, String> {
    let (device, _) = choose(Choice::Emulator).map_err(|error| error.to_string())?;
    let launches = |case: &Case| {
        // A case whose kernels are not all there launches none.
        let kernels = doctor::kernels(case, &device).unwrap_or_default();
        kernels.iter().any(|kernel| symbols.iter().any(|symbol| symbol == kernel))
    };
    let all = cases::all();
    let small = all.iter().enumerate().filter(|(_, case)| case.scale == Scale::Small);
    Ok(small.filter(|(_, case)| launches(case)).map(|(number, _)| number).collect())
}

impl Trial {
    /// Holds the trial in another process, which is ended after `limit`.
    pub fn hold(&self, limit: Duration) -> Result<Outcome, String> {
        let task = serde_json::to_string(self).map_err(|error| error.to_string())?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        // Several trials are held at a time.
        command.env("RAYON_NUM_THREADS", "1").arg("--trial").arg(task);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| error.to_string())?;
        let Some(output) = wait(child, limit).map_err(|error| error.to_string())? else {
            return Ok(Outcome::killed("hang", format!("still running after {} s", limit.as_secs())));
        };
        match serde_json::from_slice(&output.stdout) {
            Ok(outcome) if output.status.success() => Ok(outcome),
            _ => Ok(Outcome::killed("crash", String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Holds the trial in this process.
    pub fn judge(&self) -> Result<Outcome, String> {
        // SAFETY: the library was made by this program; its one initialiser hands kernels to the emulator.
        let library =
            unsafe { libloading::Library::new(&self.library) }.map_err(|error| error.to_string())?;
        // The emulator keeps its kernels.
        std::mem::forget(library);
        let all = cases::all();
        let mut outcomes = self.cases.iter().map(|&number| self.judge_case(&all[number]));
        let killed = outcomes.find(|outcome| !matches!(outcome, Ok(Outcome::Survived)));
        killed.unwrap_or(Ok(Outcome::Survived))
    }

    /// One case under every schedule, against the definition and against the first schedule.
    fn judge_case(&self, case: &Case) -> Result<Outcome, String> {
        let expected = Outputs::of(case, &Cpu::new().into()).map_err(|error| error.to_string())?;
        let mut first: Option<Outputs> = None;
        for seed in 0..if self.checked { 1 } else { SEEDS } {
            let at = format!("{case:?}, schedule {seed}");
            let found = match Outputs::of(case, &self.device(seed)) {
                Ok(found) => found,
                Err(error) => {
                    return Ok(Outcome::killed(
                        if self.checked { "check" } else { "error" },
                        format!("{at}: {error}"),
                    ));
                }
            };
            if let Some(wrong) =
                found.compare(&expected).into_iter().find(|comparison| !comparison.passes(case))
            {
                let how = format!("{at}: {} is off by {:e}", wrong.output, wrong.relative);
                return Ok(Outcome::killed("values", how));
            }
            let first = first.get_or_insert_with(|| found.clone());
            if !found.same_bits(first) {
                return Ok(Outcome::killed("schedule", format!("{at}: not the bits of schedule 0")));
            }
        }
        Ok(Outcome::Survived)
    }

    fn device(&self, seed: u64) -> Device {
        let architecture = Emulated::open().properties().architecture;
        Device::Cuda(if self.checked {
            Emulated::checked(architecture, seed)
        } else {
            Emulated::card(architecture, seed)
        })
    }
}

/// What the process wrote; none if it had to be ended.
fn wait(mut child: Child, limit: Duration) -> std::io::Result<Option<Output>> {
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(GLANCE);
    }
    child.wait_with_output().map(Some)
}
