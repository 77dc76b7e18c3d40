//! Which file is meant by a path that may be a folder.
//!
//! Folders are searched as SimpleTuner does: a name in `SIMPLETUNER_ENVIRONMENT`, `SIMPLETUNER_ENV` or `ENV` is that
//! of a folder in `config/`, and `SIMPLETUNER_CONFIG_BACKEND`, `CONFIG_BACKEND` or `CONFIG_TYPE` says which form the
//! file has. `CONFIG_PATH` is not read, because the command names the path.

use crate::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The names of settings files, in the order in which they are looked for.
const NAMES: [(&str, &str); 3] = [("json", "config.json"), ("toml", "config.toml"), ("env", "config.env")];

const ENVIRONMENT: [&str; 3] = ["SIMPLETUNER_ENVIRONMENT", "SIMPLETUNER_ENV", "ENV"];
const BACKEND: [&str; 3] = ["SIMPLETUNER_CONFIG_BACKEND", "CONFIG_BACKEND", "CONFIG_TYPE"];

/// The settings file that `path` means: itself, or the one in that folder.
///
/// # Errors
/// A path that does not exist, a folder without a settings file.
pub fn settings_file(path: &Path) -> Result<PathBuf> {
    let variable = |names: [&str; 3]| names.iter().find_map(|name| std::env::var(name).ok());
    choose(path, variable(ENVIRONMENT).as_deref(), variable(BACKEND).as_deref())
}

fn choose(path: &Path, environment: Option<&str>, backend: Option<&str>) -> Result<PathBuf> {
    let in_config = Path::new("config").join(path);
    let path = if !path.exists() && path.is_relative() && in_config.is_dir() { &in_config } else { path };
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let names: Vec<&str> = match backend.map(str::to_lowercase).as_deref() {
        Some(wanted) if NAMES.iter().any(|(backend, _)| *backend == wanted) => {
            NAMES.iter().filter(|(backend, _)| *backend == wanted).map(|(_, name)| *name).collect()
        }
        _ => NAMES.iter().map(|(_, name)| *name).collect(),
    };
    let environment = environment.filter(|name| !name.is_empty() && *name != "default");
    let of_environment =
        environment.into_iter().flat_map(|name| [path.join(name), path.join("config").join(name)]);
    let folders: Vec<PathBuf> = of_environment.chain([path.to_owned(), path.join("config")]).collect();
    let all = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    all.clone().find(|file| file.is_file()).ok_or_else(|| {
        let tried = all.map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        let cause = format!("there is no settings file in this folder; tried {tried}");
        Error::new(ErrorKind::Files, path.display().to_string(), cause).hint("name the file itself")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "{}").unwrap();
        path
    }

    #[test]
    fn a_file_is_itself_and_a_folder_is_searched_in_order() {
        let root = tempfile::tempdir().unwrap();
        let env = touch(root.path(), "config/config.env");
        assert_eq!(choose(&env, None, None).unwrap(), env);
        assert_eq!(choose(root.path(), None, None).unwrap(), env);
        let toml = touch(root.path(), "config/config.toml");
        let config = root.path().join("config");
        assert_eq!(choose(&config, None, None).unwrap(), toml);
        let json = touch(root.path(), "config/config.json");
        assert_eq!(choose(&config, None, None).unwrap(), json);
        assert_eq!(choose(&config, None, Some("ENV")).unwrap(), env);
        let missing = root.path().join("none.json");
        assert_eq!(choose(&missing, None, None).unwrap(), missing);
    }

    #[test]
    fn an_environment_is_a_folder_in_config() {
        let root = tempfile::tempdir().unwrap();
        let plain = touch(root.path(), "config/config.json");
        let cats = touch(root.path(), "config/cats/config.json");
        let choose = |path: &Path, name| choose(path, Some(name), None).unwrap();
        assert_eq!(choose(root.path(), "cats"), cats);
        assert_eq!(choose(&root.path().join("config"), "cats"), cats);
        assert_eq!(choose(&root.path().join("config/cats"), "dogs"), cats);
        assert_eq!(choose(root.path(), "default"), plain);
        assert_eq!(choose(root.path(), "dogs"), plain, "`ENV` may mean anything");
    }

    #[test]
    fn a_folder_without_settings_says_what_was_tried() {
        let root = tempfile::tempdir().unwrap();
        let error = choose(root.path(), None, Some("toml")).unwrap_err();
        assert!(error.cause.contains("config.toml") && !error.cause.contains("config.json"), "{error}");
    }
}
