//! Case folders: where they are and what is in them.

use super::checks::Checks;
use sargent::device::{self, Choice, Device};
use sargent::error::{Error, ErrorKind, Result};
use sargent::weights::TensorFile;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Compares one case with what this program computes.
pub type Check = fn(&Case, &mut Checks) -> Result<()>;

/// One case folder.
pub struct Case {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    about: Value,
}

/// A safetensors file of a case.
pub struct Tensors(TensorFile);

/// All cases of the set, sorted by name.
///
/// # Panics
/// If the folder is missing or empty, or a folder in it is not a case.
pub fn all() -> Vec<Case> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/golden");
    let root = std::env::var_os("SARGENT_GOLDEN").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let entries =
        std::fs::read_dir(&root).unwrap_or_else(|e| panic!("golden cases at {}: {e}", root.display()));
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(!folders.is_empty(), "there is no golden case at {}", root.display());
    folders.iter().map(|folder| Case::open(folder).unwrap_or_else(|e| panic!("{e}"))).collect()
}

/// Runs `check` on every case of `kind` and fails with all that is beyond its limit.
///
/// # Panics
/// If a check fails, or the device that is asked for is not there.
pub fn check_every(kind: &str, check: Check) {
    device().unwrap_or_else(|e| panic!("SARGENT_DEVICE: {e}"));
    let mut failures = Vec::new();
    for case in all().iter().filter(|case| case.kind() == kind) {
        let mut checks = Checks::default();
        if let Err(error) = check(case, &mut checks) {
            checks.fail("the case cannot be run", &error.to_string());
        }
        println!("{}: {}", case.name, checks.summary());
        failures.extend(checks.failures().map(|failure| format!("{}: {failure}", case.name)));
    }
    assert!(failures.is_empty(), "{} checks failed:\n{}", failures.len(), failures.join("\n"));
}

/// The device in `SARGENT_DEVICE`.
pub fn device() -> Result<Device> {
    let name = std::env::var("SARGENT_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    Ok(device::choose(name.parse::<Choice>()?)?.0)
}

/// Whether the device computes in f32; a device that does not is held to the bounds of bf16.
pub fn computes_in_f32() -> bool {
    std::env::var("SARGENT_DEVICE").map_or(true, |name| name == "cpu")
}

/// The relative error of a loss that bf16 is always allowed: a third of what its prediction is off by.
const LEAST_LOSS_BOUND: f64 = 2e-3;

/// What a tensor is, where a device that computes in bf16 has a bound of its own.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    /// A result of the forward pass.
    Output,
    /// A gradient, or latents that were sampled.
    Gradient,
    /// A loss.
    Loss,
    /// An adapter after some steps: AdamW makes a whole move of a gradient of any size.
    Trained,
    /// f32 on every device.
    Exact,
}

impl Of {
    /// The relative L2 error that bf16 may make.
    fn bound_in_bf16(self) -> f64 {
        match self {
            Self::Output => 1e-2,
            Self::Gradient => 5e-2,
            Self::Loss => 2e-2,
            // As far as vectors are apart whose cosine is 0.98.
            Self::Trained => 2e-1,
            Self::Exact => 0.0,
        }
    }

    /// `limit`, or the bound of bf16 on a device that computes in it.
    pub fn limit(self, limit: f64) -> f64 {
        if computes_in_f32() { limit } else { limit.max(self.bound_in_bf16()) }
    }
}

impl Case {
    fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("case.json");
        let text = std::fs::read(&path).map_err(|e| Error::io(&path, &e))?;
        let about = serde_json::from_slice(&text)
            .map_err(|e| Error::new(ErrorKind::Files, path.display().to_string(), e.to_string()))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, folder: folder.to_owned(), about })
    }

    /// Which formulas the case is about.
    pub fn kind(&self) -> &str {
        self.about["kind"].as_str().unwrap_or("none")
    }

    /// A file of the case.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The tensors of `name`, without its suffix.
    pub fn tensors(&self, name: &str) -> Result<Tensors> {
        Ok(Tensors(TensorFile::open(&self.path(&format!("{name}.safetensors")))?))
    }

    /// What `case.json` says at the end of `keys`.
    pub fn value(&self, keys: &[&str]) -> Result<&Value> {
        self.find(keys).ok_or_else(|| self.lacks(keys))
    }

    /// What `case.json` says at the end of `keys`, if anything.
    pub fn find(&self, keys: &[&str]) -> Option<&Value> {
        keys.iter().try_fold(&self.about, |value, key| value.get(key))
    }

    /// A number of `case.json`.
    pub fn number(&self, keys: &[&str]) -> Result<f64> {
        self.value(keys)?.as_f64().ok_or_else(|| self.lacks(keys))
    }

    /// A count of `case.json`.
    pub fn count(&self, keys: &[&str]) -> Result<usize> {
        self.value(keys)?.as_u64().map(|n| n as usize).ok_or_else(|| self.lacks(keys))
    }

    /// A list of `case.json`.
    pub fn list(&self, keys: &[&str]) -> Result<&[Value]> {
        self.value(keys)?.as_array().map(Vec::as_slice).ok_or_else(|| self.lacks(keys))
    }

    /// A list of numbers of `case.json`.
    pub fn numbers(&self, keys: &[&str]) -> Result<Vec<f64>> {
        self.list(keys)?.iter().map(|value| value.as_f64().ok_or_else(|| self.lacks(keys))).collect()
    }

    /// A list of strings of `case.json`.
    pub fn strings(&self, keys: &[&str]) -> Result<Vec<String>> {
        let string = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| self.lacks(keys));
        self.list(keys)?.iter().map(string).collect()
    }

    /// The names in an object of `case.json`.
    pub fn names(&self, keys: &[&str]) -> Result<Vec<&str>> {
        let object = self.value(keys)?.as_object().ok_or_else(|| self.lacks(keys))?;
        Ok(object.keys().map(String::as_str).collect())
    }

    /// The limit for what is at the end of `keys` in the case's tolerances. In bf16 it is three times the error that
    /// torch makes there, where the case knows it.
    pub fn tolerance(&self, keys: &[&str], of: Of) -> Result<f64> {
        let recommended = self.recommended(keys).ok_or_else(|| self.lacks(keys))?;
        Ok(self.in_bf16(keys, of).unwrap_or_else(|| of.limit(recommended)))
    }

    /// [`Case::tolerance`], or `limit` where the case recommends none.
    pub fn tolerance_or(&self, keys: &[&str], limit: f64, of: Of) -> f64 {
        self.tolerance(keys, of).unwrap_or_else(|_| of.limit(limit))
    }

    /// Three times what torch's bf16 is off by, on a device that computes in bf16.
    fn in_bf16(&self, keys: &[&str], of: Of) -> Option<f64> {
        if computes_in_f32() || matches!(of, Of::Exact) {
            return None;
        }
        let tolerances = &self.about["tolerances"];
        let entry = keys.iter().try_fold(tolerances, |value, key| value.get(key))?;
        let beside =
            || tolerances.get(format!("{}_bf16_vs_fp64", keys.first()?))?.get(keys.last()?)?.as_f64();
        let bound = 3.0 * entry.get("bf16_vs_fp64").and_then(Value::as_f64).or_else(beside)?;
        // A loss is one number: torch's may be closer than any bf16 can promise, by chance.
        Some(if matches!(of, Of::Loss) { bound.max(LEAST_LOSS_BOUND) } else { bound })
    }

    fn recommended(&self, keys: &[&str]) -> Option<f64> {
        let entry = keys.iter().try_fold(&self.about["tolerances"], |value, key| value.get(key))?;
        let recommended = ["recommended_rel_l2", "recommended_rel", "recommended_max_abs"];
        recommended.iter().find_map(|key| entry.get(key)?.as_f64())
    }

    /// The tensors that must be zero, of the tolerances at the end of `keys`.
    pub fn exact_zeros(&self, keys: &[&str]) -> Vec<String> {
        let entry = keys.iter().try_fold(&self.about["tolerances"], |value, key| value.get(key));
        let names = entry.and_then(|entry| entry.get("exactly_zero_tensors")?.as_array());
        names.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    }

    fn lacks(&self, keys: &[&str]) -> Error {
        let place = self.path("case.json").display().to_string();
        Error::new(ErrorKind::Files, place, format!("there is no usable `{}`", keys.join(".")))
    }
}

impl Tensors {
    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names()
    }

    /// Whether there is a tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Its extents.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.0.view(name)?.shape.to_vec())
    }

    /// Its elements, as f32 whatever they are stored as.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>> {
        self.0.read_f32(name)
    }

    /// The elements of a tensor of f64.
    pub fn f64(&self, name: &str) -> Result<Vec<f64>> {
        let view = self.0.view(name)?;
        if view.dtype != sargent::tensor::DType::F64 {
            return Err(Error::tensor(self.0.path(), name, format!("{} instead of f64", view.dtype)));
        }
        Ok(view.bytes.as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect())
    }

    /// The elements of a tensor of integers.
    pub fn i64(&self, name: &str) -> Result<Vec<i64>> {
        self.0.read_i64(name)
    }
}
