//! Folders that are removed when their owner ends, or by the next ground where
//! the owner was killed.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The file in a folder that its owner holds locked for as long as it lives.
const LOCK: &str = "owner.lock";

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
        sweep()?;
        for n in 0..1000 {
            let path = root()?.join(format!("{kind}-{}-{n}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Self::own(path),
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

fn sweep() -> Result<()> {
    let minute_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    for entry in std::fs::read_dir(root()?)? {
        let path = entry?.path();
        // A folder without a lock may be one that is being created this instant.
        let young = path.metadata().and_then(|m| m.modified()).is_ok_and(|at| at > minute_ago);
        if path.is_dir() && !path.ends_with("ports") && !is_owned(&path)? && (!young || path.join(LOCK).exists()) {
            // Another ground may be sweeping too.
            let _ = std::fs::remove_dir_all(&path);
        }
    }
    Ok(())
}
