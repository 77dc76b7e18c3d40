//! Models in the local cache of the Hugging Face hub.
//!
//! The cache has a folder `models--OWNER--NAME` for each repository; `refs/REVISION` in it holds a commit, and
//! `snapshots/COMMIT` the files, as links. Nothing is downloaded. The layout and the variables are those of
//! huggingface_hub.

use std::path::{Path, PathBuf};

/// The repositories of Stable Diffusion 3.5, by SimpleTuner's `model_flavour`.
pub const FLAVOURS: [(&str, &str); 2] = [
    ("medium", "stabilityai/stable-diffusion-3.5-medium"),
    ("large", "stabilityai/stable-diffusion-3.5-large"),
];

/// The revision that is meant when none is named.
const MAIN: &str = "main";

/// Whether `text` may be the id of a repository: an owner, a slash and a name.
pub fn is_id(text: &str) -> bool {
    let part = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(fits)
    };
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// The caches that are looked into: `HF_HUB_CACHE` alone if it is set, else `HF_HOME/hub`, else the usual place.
pub fn caches() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let set = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    let home = || variable("HF_HOME").map(|home| home.join("hub"));
    let usual = || {
        let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
        cache.map(|cache| cache.join("huggingface").join("hub"))
    };
    set.or_else(home).or_else(usual).into_iter().collect()
}

/// The folder of the files of repository `id` at `revision`, a branch, tag or commit; none if it is not there.
pub fn find(id: &str, revision: Option<&str>) -> Option<PathBuf> {
    caches().iter().find_map(|cache| find_in(cache, id, revision))
}

fn find_in(cache: &Path, id: &str, revision: Option<&str>) -> Option<PathBuf> {
    let repository = cache.join(format!("models--{}", id.replace('/', "--")));
    let revision = revision.unwrap_or(MAIN);
    let named = std::fs::read_to_string(repository.join("refs").join(revision)).ok();
    let commit = named.as_deref().map_or(revision, str::trim);
    let snapshot = repository.join("snapshots").join(commit);
    (!commit.is_empty() && snapshot.is_dir()).then_some(snapshot)
}

/// How to get a repository into the cache.
pub fn how_to_get(id: &str, revision: Option<&str>) -> String {
    let revision = revision.map(|revision| format!(" --revision {revision}")).unwrap_or_default();
    let download = format!("`hf download {id}{revision}` fetches it");
    if id.starts_with("stabilityai/") {
        format!(
            "{download}; first accept its licence at https://huggingface.co/{id} and log in with `hf auth login`"
        )
    } else {
        download
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_an_owner_and_a_name() {
        for id in ["stabilityai/stable-diffusion-3.5-large", "a/b_c.d-1"] {
            assert!(is_id(id), "{id}");
        }
        for path in ["model", "/models/sd35", "./a/b", "../b", "a/b/c", "a/", "~/models", "C:\\a/b", "a/b c"]
        {
            assert!(!is_id(path), "{path}");
        }
    }

    #[test]
    fn a_snapshot_is_found_by_branch_or_commit() {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join("models--o--n");
        let snapshot = repository.join("snapshots/0123abc");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(repository.join("refs/pr")).unwrap();
        std::fs::write(repository.join("refs/main"), "0123abc\n").unwrap();
        std::fs::write(repository.join("refs/pr/1"), "ffff").unwrap();
        let find = |id, revision| find_in(cache.path(), id, revision);
        assert_eq!(find("o/n", None), Some(snapshot.clone()));
        assert_eq!(find("o/n", Some("0123abc")), Some(snapshot));
        for (id, revision) in [("o/n", Some("pr/1")), ("o/n", Some("v2")), ("o/m", None)] {
            assert_eq!(find(id, revision), None, "{id} {revision:?}");
        }
    }

    #[test]
    fn gated_models_need_their_licence() {
        let hint = how_to_get("stabilityai/x", Some("v2"));
        assert!(
            hint.contains("hf download stabilityai/x --revision v2") && hint.contains("licence"),
            "{hint}"
        );
        assert!(!how_to_get("o/n", None).contains("licence"));
    }
}
