//! The tensors of one file, or of the shards in a folder, under one roof.

use super::mapped::TensorFile;
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tensor names and the files that hold them.
#[derive(Debug)]
pub struct TensorSet {
    path: PathBuf,
    tensors: BTreeMap<String, Arc<TensorFile>>,
    metadata: BTreeMap<String, String>,
}

impl TensorSet {
    /// The tensors of a safetensors file, or of a folder with one such file or with shards and their index.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() { Self::folder(path) } else { Self::file(path) }
    }

    fn file(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        if ["ckpt", "pt", "pth", "bin", "gguf"].contains(&extension.as_str()) && path.exists() {
            return Err(Error::weights(path, format!(".{extension} files are not read"))
                .hint("use the .safetensors file of the same model"));
        }
        let file = Arc::new(TensorFile::open(path)?);
        let tensors = file.names().map(|name| (name.to_owned(), Arc::clone(&file))).collect();
        Ok(Self { path: path.to_owned(), tensors, metadata: file.metadata().clone() })
    }

    fn folder(path: &Path) -> Result<Self> {
        let files = file_names(path)?;
        let whole: Vec<&String> = files.iter().filter(|name| name.ends_with(".safetensors")).collect();
        let usual = ["diffusion_pytorch_model.safetensors", "model.safetensors"];
        if let Some(name) = whole.iter().find(|name| usual.contains(&name.as_str())) {
            return Self::file(&path.join(name));
        }
        if let Some(index) =
            files.iter().find(|name| name.contains(".safetensors.index.") && name.ends_with(".json"))
        {
            return Self::shards(path, &path.join(index));
        }
        match whole.as_slice() {
            [only] => Self::file(&path.join(only)),
            [] => Err(Error::weights(path, "there is no .safetensors file in this folder")
                .hint("download the model's .safetensors files; .bin files are not read")),
            several => Err(Error::weights(
                path,
                format!("there are {} .safetensors files and no index", several.len()),
            )
            .hint("name one of the files, or add the *.safetensors.index.json of the shards")),
        }
    }

    /// The shards that `index` lists, each of which must hold what the index promises.
    fn shards(folder: &Path, index: &Path) -> Result<Self> {
        let json = read_json(index)?;
        let Some(Value::Object(places)) = json.get("weight_map") else {
            return Err(Error::weights(index, "there is no `weight_map` in this index")
                .hint("download the index file again"));
        };
        let mut set = Self { path: folder.to_owned(), tensors: BTreeMap::new(), metadata: BTreeMap::new() };
        let mut shards: BTreeMap<&str, Arc<TensorFile>> = BTreeMap::new();
        for (tensor, place) in places {
            let Some(name) = place.as_str().filter(|name| is_plain_name(name)) else {
                return Err(Error::weights(
                    index,
                    format!("the file of tensor `{tensor}` is not named properly"),
                )
                .hint("download the index file again"));
            };
            let shard = match shards.get(name) {
                Some(shard) => Arc::clone(shard),
                None => {
                    let path = folder.join(name);
                    let shard = Arc::new(TensorFile::open(&path).map_err(|e| {
                        e.hint(format!(
                            "it is one of the shards that {} lists; download it again",
                            index.display()
                        ))
                    })?);
                    set.metadata.extend(shard.metadata().clone());
                    shards.insert(name, Arc::clone(&shard));
                    shard
                }
            };
            if !shard.contains(tensor) {
                return Err(Error::tensor(
                    shard.path(),
                    tensor,
                    "this shard lacks a tensor that the index promises",
                )
                .hint("shards and index belong to different downloads; download the folder again"));
            }
            set.tensors.insert(tensor.clone(), shard);
        }
        Ok(set)
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensor names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The strings that the file's header carries.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The tensors whose names begin with `prefix`: full name, name without the prefix, file.
    pub fn with_prefix(&self, prefix: &str) -> impl Iterator<Item = (&str, &str, &Arc<TensorFile>)> {
        self.tensors
            .iter()
            .filter_map(move |(name, file)| Some((name.as_str(), name.strip_prefix(prefix)?, file)))
    }
}

/// The JSON file at `path`.
pub(super) fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).map_err(|e| Error::weights(path, Error::io(path, &e).cause))?;
    serde_json::from_slice(&text).map_err(|e| {
        Error::weights(path, format!("this is not valid JSON ({e})")).hint("download the file again")
    })
}

/// The names of the files in a folder, sorted.
fn file_names(folder: &Path) -> Result<Vec<String>> {
    let at = |e: std::io::Error| Error::weights(folder, Error::io(folder, &e).cause);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at)? {
        names.extend(entry.map_err(at)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Whether an index names a file in its own folder and nowhere else.
fn is_plain_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|file| file == name)
}
