//! How the code is laid out: which room may import which, who may print, where `unsafe` stands, and how long a file
//! gets. Sources are read as text; test modules do not count.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every room, and the rooms that it may import. A room stands after all that it may import, so that imports run one
/// way through the whole crate.
///
/// Where a border is less than obvious:
/// - `dataset` draws orders and captions itself, so it needs `random` and nothing else of the engine.
/// - `settings` are words and numbers: only `train` (recipe, checkpoints), `run` and `cli` read them. The other rooms
///   get plain structs.
/// - `cache` keeps its entries as safetensors files, whose reader and writer are in `weights`.
/// - The values of an adapter (`models::adapter::AdapterModule`) belong to the adapters; `export` writes and reads them
///   as files. So `export` imports `models`, and models know no file format of an adapter.
/// - `export` draws the start of a decomposition, so it needs `random`.
/// - `train` imports `export`, because a checkpoint holds the LoRA in the form in which it is exported.
/// - `report` gets numbers and pictures as plain values and knows nothing of a run.
/// - `run` wires the rooms and prints nothing; `cli` prints.
const ROOMS: [(&str, &[&str]); 24] = [
    ("error", &[]),
    ("tensor", &[]),
    ("random", &[]),
    ("files", &["error"]),
    ("settings", &["error"]),
    ("optimizer", &["error"]),
    ("diffusion", &["error", "random"]),
    ("dataset", &["error", "random"]),
    ("report", &["error", "files"]),
    ("prepare", &["dataset", "error", "files"]),
    ("weights", &["error", "files", "tensor"]),
    ("cache", &["error", "files", "tensor", "weights"]),
    ("device", &["error", "random", "tensor"]),
    ("kernels", &["device", "error", "random", "tensor"]),
    ("autograd", &["device", "error", "kernels", "tensor"]),
    ("ops", &["autograd", "error", "kernels", "tensor"]),
    ("models", &["autograd", "device", "error", "kernels", "ops", "random", "tensor", "weights"]),
    ("export", &["error", "models", "random", "tensor", "weights"]),
    ("encode", &["autograd", "cache", "dataset", "device", "error", "models", "weights"]),
    ("validate", &["autograd", "cache", "diffusion", "error", "models", "tensor", "weights"]),
    (
        "train",
        &[
            "autograd",
            "cache",
            "dataset",
            "device",
            "diffusion",
            "error",
            "export",
            "files",
            "kernels",
            "models",
            "ops",
            "optimizer",
            "random",
            "settings",
            "tensor",
            "weights",
        ],
    ),
    ("doctor", &["autograd", "device", "error", "kernels", "models", "ops", "random", "tensor", "train"]),
    (
        "run",
        &[
            "autograd",
            "cache",
            "dataset",
            "device",
            "diffusion",
            "encode",
            "error",
            "export",
            "files",
            "models",
            "report",
            "settings",
            "train",
            "validate",
            "weights",
        ],
    ),
    (
        "cli",
        &[
            "autograd", "dataset", "device", "doctor", "encode", "error", "export", "files", "prepare",
            "report", "run", "settings",
        ],
    ),
];

/// The files with `unsafe` code, and why each needs it.
const UNSAFE: [(&str, &str); 9] = [
    ("autograd/run/card.rs", "hands kernels their places in memory, which the plan keeps apart"),
    ("autograd/run/host.rs", "hands kernels their places in the arena, which the plan keeps apart"),
    ("device/cpu.rs", "tensors of one node are windows into one buffer, some read and some written"),
    ("device/cuda/gpu.rs", "the seam's calls take addresses that only the caller can vouch for"),
    ("device/cuda/memory.rs", "device and pinned memory, given back when dropped"),
    ("device/cuda/driver.rs", "calls the CUDA driver"),
    ("device/cuda/emulated.rs", "calls the emulator"),
    ("kernels/matrix.rs", "windows into a matrix that threads write side by side, and the GEMM crate"),
    ("weights/mapped.rs", "mapping a file"),
];

/// Lines of the longest file.
const LONGEST: usize = 600;

/// Nobody reads this file from top to bottom: it is made of the kernels' headers.
const GENERATED: &str = "kernels/parameters.rs";

/// File names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "misc"];

/// The macros that print.
const PRINTING: [&str; 5] = ["println!", "print!", "eprintln!", "eprint!", "dbg!"];

struct Source {
    /// From `src/`, with slashes.
    path: String,
    lines: usize,
    /// Without comments, string literals and test modules.
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    fn is_a_room(&self) -> bool {
        self.path != "lib.rs" && self.path != "main.rs"
    }

    fn says(&self, word: &str) -> bool {
        self.code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '!').any(|found| found == word)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of `src/` but those that hold tests alone.
fn sources() -> Vec<Source> {
    let (top, mut folders, mut sources) = (root().join("src"), vec![root().join("src")], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).expect("a source file is text");
                let path = path.strip_prefix(&top).expect("it lies in src").display().to_string();
                sources.push(Source { path, lines: text.lines().count(), code: code(&text) });
            }
        }
    }
    sources.retain(|source| !source.path.split('/').any(|part| part == "tests" || part == "tests.rs"));
    assert!(sources.len() > 100, "the sources are found");
    sources
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of sources");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// `text` up to its test module, without comments and the contents of string literals.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let without_comment = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(without_literals).map(|line| without_comment(&line)).collect::<Vec<_>>().join("\n")
}

/// A line in which what stands between quotes is gone.
fn without_literals(line: &str) -> String {
    let line = line.replace("\\\\", "").replace("\\\"", "");
    let parts = line.split('"').enumerate().filter(|(part, _)| part % 2 == 0);
    parts.map(|(_, text)| text).collect::<Vec<_>>().join("\"\"")
}

/// The rooms that `code` names by paths from `crate`.
fn imported(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_' || c.is_ascii_digit()).collect()
    };
    let mut rooms = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => {
                rooms.insert(word(after));
            }
            Some(group) => {
                let mut depth = 1;
                let mut start = 0;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 || (depth == 1 && c == ',') {
                        rooms.insert(word(group[start..at].trim_start()));
                        start = at + 1;
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    rooms.remove("");
    rooms
}

#[test]
fn paths_from_the_crate_are_found() {
    let found = |code: &str| imported(code).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found("use crate::error::{Error, Result};\nuse crate::files;"), "error files");
    assert_eq!(found("use crate::{cache::{Key, Store}, files,\n    tensor::Shape};"), "cache files tensor");
    assert_eq!(found("let x: crate::tensor::Shape = crate::random::uniform();"), "random tensor");
    assert_eq!(found(&code("//! crate::a\nlet x = \"crate::b\"; // crate::c\n/// crate::d")), "");
    assert_eq!(found(&code("use crate::a;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}")), "a");
}

#[test]
fn the_table_lists_every_room_after_those_that_it_imports() {
    for (index, (room, imports)) in ROOMS.iter().enumerate() {
        for import in *imports {
            assert!(
                ROOMS[..index].iter().any(|(earlier, _)| earlier == import),
                "`{room}` may import `{import}`, which does not stand before it"
            );
        }
    }
    let listed: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let sources = sources();
    let there: BTreeSet<&str> =
        sources.iter().filter(|source| source.is_a_room()).map(Source::room).collect();
    assert_eq!(listed, there);
}

#[test]
fn rooms_import_what_the_table_says() {
    let mut used = BTreeSet::new();
    for source in sources().iter().filter(|source| source.is_a_room()) {
        let room = source.room().to_owned();
        let (_, allowed) = ROOMS.iter().find(|(name, _)| *name == room).expect("every room is listed");
        for import in imported(&source.code).into_iter().filter(|import| *import != room) {
            let path = &source.path;
            assert!(allowed.contains(&import.as_str()), "src/{path} imports `{import}`: `{room}` may not");
            used.insert((room.clone(), import));
        }
    }
    for (room, import) in ROOMS.iter().flat_map(|(room, imports)| imports.iter().map(move |i| (room, i))) {
        let used = used.contains(&((*room).to_owned(), (*import).to_owned()));
        assert!(used, "`{room}` no longer imports `{import}`: take it from the table");
    }
}

#[test]
fn only_the_command_line_prints() {
    for source in sources().iter().filter(|source| source.room() != "cli") {
        for printing in PRINTING {
            assert!(!source.says(printing), "src/{} prints with {printing}", source.path);
        }
    }
}

#[test]
fn unsafe_code_stands_where_it_is_listed() {
    let listed: BTreeSet<&str> = UNSAFE.iter().map(|(path, _)| *path).collect();
    let sources = sources();
    let found: BTreeSet<&str> =
        sources.iter().filter(|source| source.says("unsafe")).map(|source| source.path.as_str()).collect();
    assert_eq!(listed, found);
}

#[test]
fn nothing_is_unwrapped() {
    for source in sources() {
        for word in [".unwrap()", ".expect("] {
            assert!(!source.code.contains(word), "src/{} calls {word}: return an error", source.path);
        }
    }
}

#[test]
fn files_are_short_and_named_after_their_subject() {
    for Source { path, lines, .. } in sources() {
        assert!(lines <= LONGEST || path == GENERATED, "src/{path} has {lines} lines: split it");
        let names: Vec<&str> = path.split(['/', '.']).collect();
        for name in EMPTY_NAMES {
            assert!(!names.contains(&name), "src/{path}: what is it about?");
        }
    }
}

#[test]
fn the_architecture_names_every_room() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let rooms = text.split("\n## ").find(|section| section.starts_with("Rooms\n")).expect("a section Rooms");
    for (room, _) in ROOMS {
        assert!(rooms.contains(&format!("`{room}`")), "ARCHITECTURE.md: the section Rooms lacks `{room}`");
    }
}
