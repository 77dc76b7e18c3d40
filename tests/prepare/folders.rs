//! A source and a target folder, and the program run on them.

use image::{Rgb, RgbImage};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Small sizes, so that tests take no time.
pub const SIZES: [&str; 2] = ["--sizes", "64x64,96x64"];

/// What a run has said.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub struct Folders(tempfile::TempDir);

impl Folders {
    pub fn new() -> Self {
        let folders = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(folders.source("")).unwrap();
        folders
    }

    /// With pictures `a.png`, `b.jpg` and `sub/c.png`, each with a caption.
    pub fn with_three_pictures() -> Self {
        let folders = Self::new();
        for (name, phase) in [("a.png", 1), ("b.jpg", 2), ("sub/c.png", 3)] {
            folders.draw(name, 200, 160, phase);
            let caption = Path::new(name).with_extension("txt");
            folders.put(caption.to_str().unwrap(), format!("picture {phase}\n").as_bytes());
        }
        folders
    }

    pub fn source(&self, name: &str) -> PathBuf {
        self.0.path().join("source").join(name)
    }

    pub fn target(&self, name: &str) -> PathBuf {
        self.0.path().join("target").join(name)
    }

    /// Writes a file of the source folder.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.source(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Draws a picture into the source folder.
    pub fn draw(&self, name: &str, width: u32, height: u32, phase: u32) {
        let path = self.source(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        drawing(width, height, phase).save(path).unwrap();
    }

    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sargent"));
        command.arg("prepare").arg(self.source("")).arg(self.target("")).args(options);
        command
    }

    /// Runs it with small sizes, unless `options` name others.
    pub fn prepare(&self, options: &[&str]) -> Said {
        let sizes = if options.contains(&"--sizes") { &[][..] } else { &SIZES[..] };
        self.command(&[sizes, options].concat()).output().unwrap().into()
    }

    /// Prepares what must go well.
    pub fn prepared(&self, options: &[&str]) -> Said {
        let said = self.prepare(options);
        assert_eq!(said.code, 0, "{}", said.err);
        said
    }

    /// The record, by source.
    pub fn record(&self) -> BTreeMap<String, Value> {
        let record: Value =
            serde_json::from_slice(&std::fs::read(self.target("prepare.json")).unwrap()).unwrap();
        let pictures = record["pictures"].as_array().unwrap().iter();
        pictures.map(|entry| (entry["source"].as_str().unwrap().to_owned(), entry.clone())).collect()
    }

    pub fn crop(&self, name: &str) -> RgbImage {
        image::open(self.target(name)).unwrap().into_rgb8()
    }

    /// Bytes and time of every file in the target folder.
    pub fn state(&self) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
        files(&self.target(""))
            .into_iter()
            .map(|path| {
                let time = path.metadata().unwrap().modified().unwrap();
                (path.clone(), (std::fs::read(path).unwrap(), time))
            })
            .collect()
    }
}

/// Every file in `folder`.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A bright square on slow waves; `phase` moves both.
pub fn drawing(width: u32, height: u32, phase: u32) -> RgbImage {
    let (left, top) = (width * (1 + phase % 3) / 5, height / 3);
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |at: u32, length: f64| 90.0 + 50.0 * (f64::from(at) / length + f64::from(phase)).sin();
        if (left..left + width / 5).contains(&x) && (top..top + height / 4).contains(&y) {
            Rgb([250, 220, 40])
        } else {
            Rgb([wave(x, 19.0) as u8, wave(y, 23.0) as u8, wave(x + y, 31.0) as u8])
        }
    })
}
