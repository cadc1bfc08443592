//! Folders that are removed when their owner ends, or by the next ground where
//! the owner was killed.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The file in a folder that its owner holds locked for as long as it lives.
const LOCK: &str = "owner.lock";

/// The file in the root that is held locked over each step at which a folder is there and has no owner.
const STEP: &str = "folders.lock";

/// Where all folders of this user's grounds lie: private, since they hold credentials.
///
/// # Errors
/// Where it cannot be created, or is somebody else's.
pub fn root() -> Result<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let root = std::env::temp_dir().join(format!("s3-access-operator-{uid}"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&root)
        .with_context(|| format!("creating {}", root.display()))?;
    let metadata = std::fs::symlink_metadata(&root)?;
    ensure!(
        metadata.is_dir() && metadata.uid() == uid && metadata.mode() & 0o077 == 0,
        "{} is not a private folder of this user: somebody else could read credentials there",
        root.display()
    );
    Ok(root)
}

/// A folder with an owner; dropping it removes the folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates `<root>/<kind>-<pid>-<n>`, and removes those whose owners were killed.
    ///
    /// # Errors
    /// Where the folder cannot be created.
    pub fn create(kind: &str) -> Result<Self> {
        let _step = step()?;
        sweep()?;
        for n in 0..1000 {
            let path = root()?.join(format!("{kind}-{}-{n}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Self::lock(path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("creating {}", path.display())),
            }
        }
        bail!("a thousand folders named {kind} are in use")
    }

    /// Becomes the owner of a folder that exists, such as one that a parent process made.
    ///
    /// # Errors
    /// Where it has an owner.
    pub fn own(path: PathBuf) -> Result<Self> {
        let _step = step()?;
        Self::lock(path)
    }

    fn lock(path: PathBuf) -> Result<Self> {
        let lock = File::options().create(true).append(true).open(path.join(LOCK))?;
        lock.try_lock().with_context(|| format!("{} has another owner", path.display()))?;
        Ok(Self { path, _lock: lock })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Its lock goes before the rest of it; whoever sweeps meanwhile would stand in the way.
        let _step = step();
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}

/// Whether a living process owns this folder.
///
/// # Errors
/// Where the lock cannot be tried.
pub fn is_owned(path: &Path) -> Result<bool> {
    let _step = step()?;
    is_locked(path)
}

/// Trying a lock takes it for a moment, in which its owner could not: only within a step.
fn is_locked(path: &Path) -> Result<bool> {
    let lock = match File::options().append(true).open(path.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("opening the lock of {}", path.display())),
    };
    match lock.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).context("trying a folder's lock"),
    }
}

/// All folders under the root whose name starts with `kind-`.
///
/// # Errors
/// Where the root cannot be read.
pub fn list(kind: &str) -> Result<Vec<PathBuf>> {
    let prefix = format!("{kind}-");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root()?)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Nobody else makes, looks at or removes a folder until this is dropped. Within one, a second would wait for ever.
fn step() -> Result<File> {
    let path = root()?.join(STEP);
    let lock = File::options().create(true).append(true).open(&path);
    let lock = lock.with_context(|| format!("opening {}", path.display()))?;
    lock.lock().with_context(|| format!("locking {}", path.display()))?;
    Ok(lock)
}

/// Removes the folders whose owners were killed; only within a step.
fn sweep() -> Result<()> {
    let minute_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    for entry in std::fs::read_dir(root()?)? {
        let path = entry?.path();
        // A ground of an earlier version makes its folders without the step, and this one may have no lock yet.
        let young = path.metadata().and_then(|m| m.modified()).is_ok_and(|at| at > minute_ago);
        if path.is_dir() && !path.ends_with("ports") && !is_locked(&path)? && (!young || path.join(LOCK).exists()) {
            // Such a ground may be sweeping too.
            let _ = std::fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Folder, is_owned, step, sweep};

    /// Each thread opens the locks anew, so that they keep each other out as processes do.
    #[test]
    fn a_folder_that_is_just_being_made_is_neither_locked_nor_removed_by_who_sweeps() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut kept = Vec::new();
                    for round in 0..25 {
                        let folder = Folder::create("race").unwrap();
                        if round % 2 == 0 {
                            kept.push(folder);
                        }
                        let step = step().unwrap();
                        sweep().unwrap();
                        drop(step);
                    }
                    for folder in &kept {
                        assert!(is_owned(folder.path()).unwrap(), "{} lost its owner", folder.path().display());
                    }
                });
            }
        });
    }

    #[test]
    fn a_folder_whose_owner_was_killed_is_removed_by_the_next_to_make_one() {
        let folder = Folder::create("killed").unwrap();
        let path = folder.path().to_owned();
        // As the kernel does it: the lock goes, and nothing else.
        let abandoned = std::mem::ManuallyDrop::new(folder);
        let lock = &abandoned._lock;
        lock.unlock().unwrap();
        drop(Folder::create("next").unwrap());
        assert!(!path.exists(), "{} is still there", path.display());
    }
}
