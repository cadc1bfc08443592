//! Ports that no other ground of this machine takes meanwhile.

use std::fs::{File, TryLockError};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};

use crate::folders;

/// Below 32768, where Linux starts to hand out ports to outgoing connections:
/// one of those could take the port between our check and the server's bind.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// A port of the loopback interface, ours until this is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    // The lock is what keeps other grounds away; the kernel frees it with the process.
    _lock: File,
}

impl Port {
    /// Takes a port that nobody listens on and no other ground has taken.
    ///
    /// # Errors
    /// Where the lock files cannot be written, or no port is free.
    pub fn free() -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let dir = folders::root()?.join("ports");
        std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        // Grounds side by side start far apart, so that they seldom try the same port.
        let base = u16::try_from(std::process::id() * 97 % u32::from(RANGE.end - RANGE.start)).unwrap_or(0);
        for _ in RANGE {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = RANGE.start + (base + step % (RANGE.end - RANGE.start)) % (RANGE.end - RANGE.start);
            let lock = File::options().create(true).append(true).open(dir.join(number.to_string()))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error).context("locking a port"),
            }
            // Somebody who knows nothing of the locks may listen there.
            if TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("no free port in {RANGE:?}")
    }

    /// The port's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.number)
    }
}
