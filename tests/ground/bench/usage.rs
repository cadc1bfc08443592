//! What a process uses, by the kernel's own account (`man 5 proc`).

use std::fs;

use anyhow::{Context, Result};

/// Ticks a second in `/proc/PID/stat`: `USER_HZ`, 100 on every Linux.
const TICKS: f64 = 100.0;

/// Memory and CPU time of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Resident memory, MiB (`VmRSS`).
    pub rss_mib: f64,
    /// The most that it was since the process began or [`reset_peak`] was called, MiB (`VmHWM`).
    pub peak_mib: f64,
    /// CPU time so far, user and system, seconds.
    pub cpu_seconds: f64,
}

impl Usage {
    /// What the process uses now.
    ///
    /// # Errors
    /// Where the process has gone.
    pub fn of(id: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).with_context(|| format!("process {id}"))?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        Self::parse(&status, &stat).with_context(|| format!("process {id} is ending"))
    }

    fn parse(status: &str, stat: &str) -> Option<Self> {
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
        };
        // The program's name, in parentheses, may hold anything; the times are the 14th and 15th field.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        let cpu_seconds = (ticks()? + ticks()?) / TICKS;
        Some(Self { rss_mib: mib("VmRSS:")?, peak_mib: mib("VmHWM:")?, cpu_seconds })
    }
}

/// Has the kernel forget the highest memory so far.
///
/// # Errors
/// Where the process has gone, or is somebody else's.
pub fn reset_peak(id: u32) -> Result<()> {
    fs::write(format!("/proc/{id}/clear_refs"), "5").with_context(|| format!("resetting the peak of process {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let status = "Name:\toperator\nVmHWM:\t  20480 kB\nVmRSS:\t  10240 kB\n";
        let stat = "42 (a (strange) name) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 4 0 1 1 1";
        let expected = Usage { rss_mib: 10.0, peak_mib: 20.0, cpu_seconds: 3.0 };
        assert_eq!(Usage::parse(status, stat), Some(expected));
    }

    #[test]
    fn a_running_process_has_memory_and_its_peak_can_be_reset() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let used = Usage::of(child.id()).and_then(|before| {
            reset_peak(child.id())?;
            Ok((before, Usage::of(child.id())?))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let (before, after) = used.unwrap();
        assert!(before.rss_mib > 0.0 && after.peak_mib <= before.peak_mib.max(after.rss_mib), "{before:?} {after:?}");
        assert!(Usage::of(child.id()).is_err(), "it is gone");
    }
}
