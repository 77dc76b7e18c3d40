//! What is kept of a kernel's mutation, in `tests/mutation/NAME.json`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where results lie.
pub const FOLDER: &str = "tests/mutation";

/// The part of the mutants that must be killed, of those that are not equivalent.
pub const REQUIRED: f64 = 0.95;

/// What became of a kernel's mutants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// SHA-256 of the sources that were mutated.
    pub sha256: String,
    /// Mutants that differ from the kernel once compiled.
    pub mutants: usize,
    /// How many were killed, by what killed them.
    pub killed: BTreeMap<String, usize>,
    /// Those that were not.
    pub survivors: Vec<Survivor>,
}

/// A mutant that no case told from the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivor {
    /// The file.
    pub file: String,
    /// The line, counted from one.
    pub line: usize,
    /// The deleted word.
    pub word: String,
    /// The line before, the line, the line after.
    pub context: Vec<String>,
    /// Whether the mutant computes the same under every schedule.
    pub equivalent: bool,
    /// Why it survived.
    pub explanation: String,
}

impl Results {
    /// Reads the results of the kernel source `name`; none if there are none.
    pub fn read(name: &str) -> Result<Option<Self>, String> {
        let path = path(name);
        if !path.exists() {
            return Ok(None);
        }
        let failed = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        serde_json::from_str(&text).map(Some).map_err(|error| failed(error.to_string()))
    }

    /// Writes the results of the kernel source `name`.
    pub fn write(&self, name: &str) -> Result<(), String> {
        let path = path(name);
        let failed = |error: String| format!("{}: {error}", path.display());
        std::fs::create_dir_all(FOLDER).map_err(|error| failed(error.to_string()))?;
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.to_string()))?;
        std::fs::write(&path, text + "\n").map_err(|error| failed(error.to_string()))
    }

    /// Takes over what `earlier` results explain.
    pub fn explain_as(&mut self, earlier: &Self) {
        for survivor in &mut self.survivors {
            if let Some(known) = earlier.survivors.iter().find(|known| known.is(survivor)) {
                survivor.equivalent = known.equivalent;
                survivor.explanation.clone_from(&known.explanation);
            }
        }
    }

    /// What is wrong with the results, for the person who reads them; empty if nothing is.
    pub fn complaints(&self) -> Vec<String> {
        let unexplained = self.survivors.iter().filter(|survivor| survivor.explanation.trim().is_empty());
        let mut complaints: Vec<String> = unexplained
            .map(|Survivor { file, line, word, .. }| {
                format!("{file}:{line}: nothing explains why deleting {word} goes unseen")
            })
            .collect();
        let equivalent = self.survivors.iter().filter(|survivor| survivor.equivalent).count();
        let (killed, real) = (self.killed.values().sum::<usize>(), self.mutants - equivalent);
        if (killed as f64) < REQUIRED * real as f64 {
            complaints.push(format!("{killed} of {real} mutants were killed, too few"));
        }
        complaints
    }
}

impl Survivor {
    /// Whether both stand at the same place of the source, which may have moved.
    fn is(&self, other: &Self) -> bool {
        (&self.file, &self.word, &self.context) == (&other.file, &other.word, &other.context)
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name).with_extension("json")
}

/// The files of a kernel that are its own: not the vocabulary, not the emulator.
pub fn own(files: &BTreeMap<PathBuf, String>) -> impl Iterator<Item = (&Path, &str)> {
    let own = |path: &Path| path.parent() == Some(Path::new("kernels"));
    files.iter().map(|(path, text)| (path.as_path(), text.as_str())).filter(move |(path, _)| own(path))
}

/// SHA-256 of a kernel's own files.
pub fn digest(files: &BTreeMap<PathBuf, String>) -> String {
    let mut hasher = Sha256::new();
    for (path, text) in own(files) {
        // Lengths, so that text cannot move from file to file unseen.
        hasher.update(format!("{} {}\n{text}", path.display(), text.len()));
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
