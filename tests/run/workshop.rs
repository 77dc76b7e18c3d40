//! A folder of its own for every test: pictures, settings, and the program to run on them.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a test waits for at most.
const PATIENCE: Duration = Duration::from_secs(120);

/// See the module's documentation.
pub struct Workshop {
    root: TempDir,
}

/// A program that has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The miniature model of this repository.
pub fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-sd35")
}

/// The pictures of this repository.
pub fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/style-dataset")
}

impl Workshop {
    /// A workshop with the first six pictures of the style and settings under which a run takes a second.
    pub fn new() -> Self {
        Self::with_pictures(6)
    }

    /// A workshop with so many pictures.
    pub fn with_pictures(count: usize) -> Self {
        let workshop = Self { root: tempfile::tempdir().unwrap() };
        std::fs::create_dir(workshop.path("pictures")).unwrap();
        for (path, _) in files(&pictures()).into_iter().take(2 * count) {
            let name = path.file_name().unwrap();
            std::fs::copy(pictures().join(name), workshop.path("pictures").join(name)).unwrap();
        }
        let data = json!([{ "id": "style", "instance_data_dir": workshop.path("pictures") }]);
        std::fs::write(workshop.path("data.json"), data.to_string()).unwrap();
        workshop.write_settings(&workshop.settings());
        workshop
    }

    /// A path in the workshop.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Where runs write, unless told otherwise.
    pub fn output(&self) -> PathBuf {
        self.path("output")
    }

    /// Takes these data sets instead of the one.
    pub fn write_data(&self, sets: &Value) {
        std::fs::write(self.path("data.json"), sets.to_string()).unwrap();
    }

    /// The lines of a table in the output folder.
    pub fn lines(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.output().join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn settings(&self) -> Map<String, Value> {
        let settings = json!({
            "pretrained_model_name_or_path": model(),
            "data_backend_config": self.path("data.json"),
            "output_dir": self.output(),
            "max_train_steps": 8,
            "train_batch_size": 2,
            "resolution": 64,
            "tokenizer_max_length": 77,
            "lora_rank": 4,
            "learning_rate": 1e-3,
            "checkpointing_steps": 2,
            "validation_num_inference_steps": 2,
        });
        settings.as_object().unwrap().clone()
    }

    fn write_settings(&self, settings: &Map<String, Value>) {
        std::fs::write(self.path("run.json"), Value::Object(settings.clone()).to_string()).unwrap();
    }

    /// `sargent COMMAND run.json` with settings changed. One thread, for tests run side by side.
    pub fn command(&self, command: &str, set: &[&str]) -> Command {
        let mut program = sargent();
        program.arg(command).arg(self.path("run.json"));
        program.args(set.iter().flat_map(|setting| ["--set", setting]));
        program
    }

    /// Trains to the end of the program.
    pub fn train(&self, set: &[&str]) -> Ended {
        Ended::of(&mut self.command("train", set))
    }

    /// Trains to the end of the run; what was said meanwhile.
    pub fn trained(&self, set: &[&str]) -> String {
        self.train(set).succeeded().stderr
    }

    /// A run that goes on.
    pub fn begin(&self, set: &[&str]) -> Child {
        self.command("train", set).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    /// What `sargent plan --json` says.
    pub fn plan(&self, set: &[&str]) -> Value {
        let said = Ended::of(self.command("plan", set).arg("--json")).succeeded().stdout;
        serde_json::from_str(&said).unwrap()
    }

    /// The LoRA of the run in the output folder.
    pub fn lora(&self) -> Vec<u8> {
        std::fs::read(self.output().join("pytorch_lora_weights.safetensors")).unwrap()
    }

    /// The steps' metrics in the output folder, without their times.
    pub fn metrics(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.output().join("metrics.jsonl")).unwrap();
        let timeless = |line: &str| {
            let mut metrics: Map<String, Value> = serde_json::from_str(line).unwrap();
            metrics.remove("seconds").unwrap();
            Value::Object(metrics)
        };
        text.lines().map(timeless).collect()
    }

    /// Steps after which there are checkpoints, oldest first.
    pub fn checkpoints(&self) -> Vec<u64> {
        let names = std::fs::read_dir(self.output()).unwrap().map(|entry| entry.unwrap().file_name());
        let step = |name: std::ffi::OsString| name.to_str()?.strip_prefix("checkpoint-")?.parse().ok();
        let mut steps: Vec<u64> = names.filter_map(step).collect();
        steps.sort_unstable();
        steps
    }
}

/// The program, on one thread.
pub fn sargent() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sargent"));
    program.env("RAYON_NUM_THREADS", "1");
    program
}

impl Ended {
    /// Runs `command` to its end.
    pub fn of(command: &mut Command) -> Self {
        command.output().unwrap().into()
    }

    /// Exit code 0.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Exit code 2 and an error of one line with a hint, which together say all of `parts`.
    pub fn refused(self, parts: &[&str]) -> Self {
        self.failed(2, parts)
    }

    /// As [`refused`](Self::refused) with exit code 1.
    pub fn broke(self, parts: &[&str]) -> Self {
        self.failed(1, parts)
    }

    fn failed(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        let (_, error) = self.stderr.split_once("sargent: error: ").expect(&self.stderr);
        let lines: Vec<&str> = error.trim_end().lines().collect();
        assert!(lines.len() == 2 && lines[1].starts_with("  hint: "), "not one line and a hint: {error}");
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(!stderr.contains("panicked"), "{stderr}");
        Self { code: output.status.code(), stdout, stderr }
    }
}

/// Waits until `happened`.
pub fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < PATIENCE, "waited too long for: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends a signal, as `kill` names it.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Every file under `folder` with its content, the lock apart; none if there is no folder.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().unwrap() != ".lock" {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}
