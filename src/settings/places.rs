//! Where the paths in settings lead.
//!
//! What is written lies below the current directory. What is read is looked for in the current directory, then in the
//! folder of the file that names it; and where that file lies in a folder called `config`, in the folder above that,
//! from which SimpleTuner is started.

use super::hub;
use super::keys::Key;
use super::kind::{Kind, shown};
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Something to read that is in none of its places.
#[derive(Debug, Clone, PartialEq)]
pub struct Missing {
    /// The setting that names it.
    pub key: &'static str,
    /// What the setting says.
    pub written: String,
    /// Where it was looked for.
    pub tried: Vec<PathBuf>,
}

impl Missing {
    /// The error that says where it was looked for, and how to get a model.
    pub fn error(&self, revision: Option<&str>) -> Error {
        let tried: Vec<String> = self.tried.iter().map(|path| path.display().to_string()).collect();
        let tried = tried.join(" or ");
        let hub_id = Some(&self.written).filter(|_| self.key == super::MODEL && hub::is_id(&self.written));
        let Some(id) = hub_id else {
            let cause = format!("there is no file or folder {tried}");
            return Error::setting(self.key, cause)
                .hint("relative paths begin in the current directory or beside the file that names them");
        };
        let wanted = revision.map(|revision| format!(" at revision {revision}")).unwrap_or_default();
        let caches: Vec<String> = hub::caches().iter().map(|path| path.display().to_string()).collect();
        let cause = format!(
            "{}{wanted} is neither a path (tried {tried}) nor in the Hugging Face cache ({})",
            shown(&id.as_str().into()),
            caches.join(", ")
        );
        Error::setting(self.key, cause).hint(hub::how_to_get(id, revision))
    }
}

/// Makes the path in `value` absolute; notes it in `missing` when nothing is there to read.
///
/// # Errors
/// A path that is not UTF-8.
pub fn placed(
    key: &'static Key,
    value: Value,
    folder: Option<&Path>,
    missing: &mut Vec<Missing>,
) -> Result<Value> {
    let (Kind::Source | Kind::Target | Kind::Model | Kind::Document, Some(path)) = (key.kind, value.as_str())
    else {
        return Ok(value);
    };
    let here = absolute(key.name, Path::new(path))?;
    if matches!(key.kind, Kind::Target) {
        return path_value(key.name, here);
    }
    let tried = tried(key.name, path, folder)?;
    if let Some(found) = tried.iter().find(|path| path.exists()) {
        return path_value(key.name, found.clone());
    }
    missing.push(Missing { key: key.name, written: path.to_owned(), tried });
    path_value(key.name, here)
}

/// The file or folder that the text `written` of `key` names, where it is found; in the current directory where it is
/// not.
pub fn source(key: &str, written: &str, folder: Option<&Path>) -> Result<PathBuf> {
    let tried = tried(key, written, folder)?;
    Ok(tried.iter().find(|path| path.exists()).unwrap_or(&tried[0]).clone())
}

/// The places where the text `written` of `key` may lead, the one in the current directory first.
fn tried(key: &str, written: &str, folder: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut tried = vec![absolute(key, Path::new(written))?];
    for other in folder.into_iter().flat_map(|folder| beside(folder, Path::new(written))) {
        let other = absolute(key, &other)?;
        if !tried.contains(&other) {
            tried.push(other);
        }
    }
    Ok(tried)
}

/// The places of `path` that a file in `folder` may mean.
fn beside(folder: &Path, path: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let config = absolute.ancestors().find(|above| above.file_name().is_some_and(|name| name == "config"));
    let project = config.and_then(Path::parent).map(|project| project.join(path));
    [absolute.join(path)].into_iter().chain(project).collect()
}

/// An absolute path, without a slash at its end, so that two spellings of a folder are the same path.
fn absolute(key: &str, path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).map_err(|e| Error::setting(key, e.to_string()))?;
    Ok(absolute.components().collect())
}

/// A path as a value.
pub fn path_value(key: &str, path: PathBuf) -> Result<Value> {
    let text = path.into_os_string().into_string();
    text.map(Value::from).map_err(|_| Error::setting(key, "the path is not valid UTF-8"))
}
