//! `sargent doctor`: what this machine has, whether every kernel computes what it should there, and how fast.

use super::failure::Failure;
use super::{device, terminal};
use crate::autograd::recompute::Recompute;
use crate::device::{Choice, Device};
use crate::doctor::whole_step::{Measured, Setup};
use crate::doctor::{Case, Ceilings, Rate, Scale, Verdict, cases, check};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::settings::DeviceChoice;
use serde::Serialize;
use std::path::PathBuf;

/// Check the card, its driver and every kernel; with --bench, measure them
///
/// Every kernel runs at edge cases and (on a card) at the shapes of Stable Diffusion 3.5, twice, and is compared with
/// the definition on the processor. Without a card it says which kernels this program carries and why none can run.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Measure kernels, and whole training steps of Large and Medium with random weights
    #[arg(long)]
    pub bench: bool,

    /// Only kernels whose name contains this
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,

    /// Only the small cases
    #[arg(long)]
    pub small: bool,

    /// Write the report as one JSON object
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  sargent doctor                                    is this card all right?
  sargent doctor --bench --json report.json         and how fast is it?
  sargent doctor --device emulator --only adamw     the CUDA kernels of the optimizer on the processor";

#[derive(Debug, Default, Serialize)]
struct Report {
    device: String,
    kernels: String,
    cases: Vec<CaseReport>,
    ceilings: Option<Ceilings>,
    steps: Vec<StepReport>,
}

#[derive(Debug, Serialize)]
struct CaseReport {
    kernel: &'static str,
    case: String,
    #[serde(flatten)]
    verdict: Option<Verdict>,
    error: Option<String>,
    rate: Option<Rate>,
}

#[derive(Debug, Serialize)]
struct StepReport {
    step: String,
    measured: Option<Measured>,
    error: Option<String>,
}

/// Examines.
pub fn run(args: &DoctorArgs, choice: Option<Choice>) -> std::result::Result<(), Failure> {
    let mut report = Report { kernels: crate::device::kernels_on_board(), ..Report::default() };
    terminal::say(format_args!("kernels   {}", report.kernels))?;
    let wanted = match device::wanted(choice, DeviceChoice::Auto) {
        Choice::Auto => Choice::Cuda { memory: None },
        wanted => wanted,
    };
    let (device, description) = crate::device::choose(wanted).map_err(Failure::while_running)?;
    report.device = describe(&device, &description);
    terminal::say(format_args!("device    {}", report.device))?;
    let failed = examine(args, &device, &mut report)?;
    if report.cases.is_empty() {
        let name = args.only.as_deref().unwrap_or_default();
        let error = Error::usage(format!("there is no kernel whose name contains `{name}`"));
        return Err(error.hint("leave --only away to check them all").into());
    }
    if args.bench {
        measure_steps(&device, &mut report)?;
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&report)
            .map_err(|e| Error::new(ErrorKind::Usage, "--json", e.to_string()))?;
        files::replace_bytes(path, &json)?;
    }
    if failed == 0 {
        return terminal::say("all is well");
    }
    let cause = format!("{failed} of {} cases failed", report.cases.len());
    Err(Failure::while_running(Error::new(ErrorKind::Kernel, "doctor", cause)))
}

fn describe(device: &Device, description: &str) -> String {
    let Device::Cuda(gpu) = device else { return description.to_owned() };
    let properties = gpu.properties();
    let gibibytes = properties.memory as f64 / (1u64 << 30) as f64;
    let architecture = properties.architecture;
    format!(
        "{}, compute capability {}.{}, {} multiprocessors, {gibibytes:.1} GiB, driver {}",
        properties.name,
        architecture.compute / 10,
        architecture.compute % 10,
        architecture.multiprocessors,
        properties.driver
    )
}

/// Whether the device is silicon, on which real shapes take no time.
fn is_card(device: &Device) -> bool {
    matches!(device, Device::Cuda(gpu) if gpu.properties().driver != "emulator")
}

/// Checks all cases, a line each; returns how many failed.
fn examine(args: &DoctorArgs, device: &Device, report: &mut Report) -> std::result::Result<usize, Failure> {
    let bench = args.bench && is_card(device);
    if bench {
        let ceilings = Ceilings::measure(device)?;
        let (product, stream) = (ceilings.product.teraflops, ceilings.stream.gigabytes);
        terminal::say(format_args!("ceilings  {product:.0} TFLOP/s (product), {stream:.0} GB/s (sum)"))?;
        report.ceilings = Some(ceilings);
    }
    let mut failed = 0;
    for case in cases::all() {
        let wanted = args.only.as_ref().is_none_or(|name| case.kernel.contains(name.as_str()));
        let small = args.small || !is_card(device);
        if !wanted || (small && case.scale == Scale::Real) {
            continue;
        }
        let found = examine_case(&case, device, bench && case.scale == Scale::Real);
        failed += usize::from(!found.verdict.as_ref().is_some_and(|verdict| verdict.passed));
        terminal::say(line(&case, &found, report.ceilings.as_ref()))?;
        report.cases.push(found);
    }
    Ok(failed)
}

fn examine_case(case: &Case, device: &Device, bench: bool) -> CaseReport {
    let verdict = check(case, device);
    let rate = if bench { Rate::of(case, device).ok() } else { None };
    let (verdict, error) = match verdict {
        Ok(verdict) => (Some(verdict), None),
        Err(error) => (None, Some(error.to_string())),
    };
    CaseReport { kernel: case.kernel, case: case.name.clone(), verdict, error, rate }
}

/// One case's line.
fn line(case: &Case, found: &CaseReport, ceilings: Option<&Ceilings>) -> String {
    let mut line = match (&found.verdict, &found.error) {
        (Some(verdict), _) => {
            let worst = verdict.comparisons.iter().max_by(|a, b| a.relative.total_cmp(&b.relative));
            let mark = if verdict.passed { "pass" } else { "FAIL" };
            let error = worst.map_or(String::new(), |worst| {
                format!(
                    "relative {:.1e} of {:.0e}, largest {:.1e} at {} of {}",
                    worst.relative, case.tolerance, worst.largest, worst.at, worst.output
                )
            });
            let repeats = if verdict.repeats { "" } else { ", two runs differ" };
            format!("{mark}  {:<20} {:<32} {error}{repeats}", case.kernel, case.name)
        }
        (None, error) => {
            let error = error.as_deref().unwrap_or_default();
            format!("FAIL  {:<20} {:<32} {error}", case.kernel, case.name)
        }
    };
    if let (Some(rate), Some(ceilings)) = (&found.rate, ceilings) {
        let (product, stream) = (ceilings.product.teraflops, ceilings.stream.gigabytes);
        line.push_str(&format!(", {:.1} us", rate.seconds * 1e6));
        line.push_str(&if rate.teraflops > 0.0 {
            format!(", {:.0} TFLOP/s ({:.0} %)", rate.teraflops, 100.0 * rate.teraflops / product)
        } else {
            format!(", {:.0} GB/s ({:.0} %)", rate.gigabytes, 100.0 * rate.gigabytes / stream)
        });
    }
    line
}

/// Whole steps; one that does not fit the card is said and passed over.
fn measure_steps(device: &Device, report: &mut Report) -> std::result::Result<(), Failure> {
    if !is_card(device) {
        return terminal::say("whole steps are measured on a card only");
    }
    for (name, setup) in [("large", Setup::large as fn(Recompute) -> Setup), ("medium", Setup::medium)] {
        for recompute in [Recompute::Store, Recompute::Selective, Recompute::Lean] {
            let step = format!("{name}.b1.1024.r128.{}", recompute.name());
            let measured: Result<Measured> = setup(recompute).measure(device);
            terminal::say(format_args!(
                "step  {step:<32} {}",
                step_line(&measured, report.ceilings.as_ref())
            ))?;
            let (measured, error) = match measured {
                Ok(measured) => (Some(measured), None),
                Err(error) => (None, Some(error.to_string())),
            };
            report.steps.push(StepReport { step, measured, error });
        }
    }
    Ok(())
}

fn step_line(measured: &Result<Measured>, ceilings: Option<&Ceilings>) -> String {
    let gibibytes = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    match measured {
        Ok(measured) => {
            let Rate { seconds, teraflops, .. } = measured.rate;
            let share = ceilings.map_or(f64::NAN, |ceilings| 100.0 * teraflops / ceilings.product.teraflops);
            let planned = gibibytes(measured.planned_bytes as u64);
            let used = measured.used_bytes.map_or(f64::NAN, gibibytes);
            format!(
                "{seconds:.4} s, {teraflops:.0} TFLOP/s ({share:.0} % of the product), {planned:.2} GiB planned, {used:.2} GiB taken"
            )
        }
        Err(error) => error.to_string(),
    }
}
