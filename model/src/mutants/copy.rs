//! A copy of the checkout's `core` and `model`, in which a mistake is planted and built.
//!
//! It lies below cargo's target directory, with a target directory of its own that every mistake
//! shares: planting one writes the files in which it differs from what is there, so that cargo
//! builds `core` and `model` again, incrementally, and nothing else. Nothing outside of it is
//! written; an interrupted run leaves a copy that the next one brings up to date.
//!
//! How it fails: [`Failed`]. Two runs at a time take turns by a lock.

use super::mistake::{self, Mistake, Tool};
use crate::scenario::ONLY;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The parts of the checkout that a planted mistake is built from.
const PARTS: [&str; 2] = ["core", "model"];

/// What cargo is told that it must not be told by the caller's surroundings.
const SURROUNDINGS: [&str; 5] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_PROFILE",
    "RUSTC_WRAPPER",
];

/// Why there is no program with the mistake in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failed {
    /// The patch.
    #[error(transparent)]
    Patch(#[from] mistake::Error),
    /// The copy.
    #[error("{} cannot be read or written ({source}): free some space or make the target writable", path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The manifest is not as this program expects.
    #[error("Cargo.toml has no line with the workspace's members: adapt model/src/mutants/copy.rs")]
    Manifest,
    /// It does not compile.
    #[error("does not compile: make the patch again so that it does\n{0}")]
    Build(String),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Failed + use<> {
    let path = path.to_owned();
    move |source| Failed::Io { path, source }
}

/// The checkout that this program was built from.
#[must_use]
pub fn checkout() -> PathBuf {
    let model = Path::new(env!("CARGO_MANIFEST_DIR"));
    model.parent().unwrap_or(model).to_owned()
}

/// The target directory that this program lies in: the one that cargo has marked.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let marked = program.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    marked.map_or_else(|| checkout().join("target"), Path::to_owned)
}

/// Where the copy, its programs and the traces are.
#[must_use]
pub fn place() -> PathBuf {
    target().join("mutants")
}

/// The copy. Whoever has it is the only one. It is of the checkout as it was when it was taken,
/// whatever is edited there meanwhile.
#[derive(Debug)]
pub struct Copy {
    place: PathBuf,
    sources: BTreeMap<String, Vec<u8>>,
    _turn: File,
}

impl Copy {
    /// Waits for its turn, and reads the checkout.
    ///
    /// # Errors
    /// [`Failed::Io`], [`Failed::Manifest`].
    pub fn take() -> Result<Self, Failed> {
        let place = place();
        fs::create_dir_all(place.join("source")).map_err(at(&place))?;
        let lock = place.join("lock");
        let turn = File::options().create(true).append(true).open(&lock).map_err(at(&lock))?;
        if turn.try_lock().is_err() {
            eprintln!("waiting for another run with planted mistakes to end");
            turn.lock().map_err(at(&lock))?;
        }
        Ok(Self { place, sources: sources()?, _turn: turn })
    }

    /// Plants the mistake and builds the program with it; the program's path.
    ///
    /// # Errors
    /// [`Failed::Patch`] if it does not apply, [`Failed::Build`] if it does not compile.
    pub fn plant(&self, mistake: &Mistake) -> Result<PathBuf, Failed> {
        let planted = mistake.apply(|file| {
            let bytes = self.sources.get(file).ok_or(io::ErrorKind::NotFound)?;
            Ok(String::from_utf8_lossy(bytes).into_owned())
        })?;
        self.write(planted.into_iter().map(|(file, text)| (file, text.into_bytes())).collect())?;
        self.build(mistake.tool, &mistake.scenario)
    }

    /// Builds the program as it is in the checkout, for one scenario; its path.
    ///
    /// # Errors
    /// [`Failed::Io`], [`Failed::Build`].
    pub fn unplanted(&self, tool: Tool, scenario: &str) -> Result<PathBuf, Failed> {
        self.write(BTreeMap::new())?;
        self.build(tool, scenario)
    }

    /// Makes the copy the same as the checkout but for `planted`, touching only what differs.
    fn write(&self, mut planted: BTreeMap<String, Vec<u8>>) -> Result<(), Failed> {
        let mut files = self.sources.clone();
        files.append(&mut planted);
        let there = self.place.join("source");
        for stale in listed(&there)? {
            if !files.contains_key(&stale) {
                let path = there.join(stale);
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        for (file, bytes) in files {
            let path = there.join(file);
            if fs::read(&path).is_ok_and(|present| present == bytes) {
                continue;
            }
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(at(folder))?;
            }
            fs::write(&path, bytes).map_err(at(&path))?;
        }
        Ok(())
    }

    fn build(&self, tool: Tool, scenario: &str) -> Result<PathBuf, Failed> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let (source, target) = (self.place.join("source"), self.place.join("target"));
        let mut command = Command::new(&cargo);
        command
            .args(["build", "--offline", "--quiet", "--package", "handfast-model"])
            .args(["--bin", "handfast-model"])
            .current_dir(&source)
            .env("CARGO_TARGET_DIR", &target)
            .env(ONLY, format!("{} {scenario}", tool.name()))
            .env("CARGO_INCREMENTAL", "1")
            // Nobody debugs it: without the tables it is built in half of the time.
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            // Optimising across the parts of a crate would take three quarters of the time.
            .env("CARGO_PROFILE_DEV_LTO", "off")
            .env("CARGO_TERM_COLOR", "never");
        for name in SURROUNDINGS {
            command.env_remove(name);
        }
        let built = command.output().map_err(at(Path::new(&cargo)))?;
        if !built.status.success() {
            return Err(Failed::Build(String::from_utf8_lossy(&built.stderr).into_owned()));
        }
        Ok(target.join("debug").join("handfast-model"))
    }
}

/// The checkout's files that the copy has, by their paths in it.
fn sources() -> Result<BTreeMap<String, Vec<u8>>, Failed> {
    let from = checkout();
    let mut files = BTreeMap::new();
    for part in PARTS {
        for file in listed(&from.join(part))? {
            let path = from.join(part).join(&file);
            files.insert(format!("{part}/{file}"), fs::read(&path).map_err(at(&path))?);
        }
    }
    let manifest = from.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(at(&manifest))?;
    files.insert("Cargo.toml".to_owned(), reduced(&text)?.into_bytes());
    let lock = from.join("Cargo.lock");
    files.insert("Cargo.lock".to_owned(), fs::read(&lock).map_err(at(&lock))?);
    Ok(files)
}

/// The workspace's manifest with the copied members only.
fn reduced(manifest: &str) -> Result<String, Failed> {
    let is_list = |line: &&str| line.starts_with("members = [");
    let list = manifest.lines().find(is_list).ok_or(Failed::Manifest)?;
    Ok(manifest.replacen(list, "members = [\"core\", \"model\"]", 1))
}

/// The files below a folder, by their paths in it.
fn listed(folder: &Path) -> Result<Vec<String>, Failed> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).map_err(at(&next))? {
            let path = entry.map_err(at(&next))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(inside) = path.strip_prefix(folder) {
                files.push(inside.to_string_lossy().into_owned());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_two_members_and_the_sources_of_both() {
        let files = sources().unwrap();
        let manifest = String::from_utf8(files["Cargo.toml"].clone()).unwrap();
        assert!(manifest.contains("members = [\"core\", \"model\"]"));
        assert!(files.contains_key("core/src/site.rs"));
        assert!(files.contains_key("model/src/mutants/copy.rs"));
        assert!(reduced("[package]").is_err());
    }
}
