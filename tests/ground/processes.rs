//! Child processes that cannot outlive the program that started them.
//!
//! Three things end a child: dropping its [`Process`] (which also covers a
//! panic), ending the program in any way, SIGKILL included, and its own exit.
//! The second is the kernel's parent death signal, which `setpriv` of util-linux
//! sets before it becomes the program: setting it from Rust would need an unsafe
//! hook between fork and exec. The kernel sends that signal when the *thread*
//! that forked ends, so every child is forked by one thread that never ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// What to run, with an environment of its own.
#[derive(Debug, Clone)]
pub struct Spec {
    name: String,
    program: PathBuf,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    inherit_env: bool,
    dir: Option<PathBuf>,
    log: PathBuf,
    piped: bool,
}

impl Spec {
    /// A program whose output goes to `log`, which is appended to.
    #[must_use]
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            inherit_env: false,
            dir: None,
            log: log.into(),
            piped: false,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets one variable; nothing is inherited, since a variable such as
    /// `AWS_CA_BUNDLE` or `SSL_CERT_FILE` breaks AWS clients.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets several variables.
    #[must_use]
    pub fn envs<K: Into<String>, V: Into<String>>(mut self, vars: impl IntoIterator<Item = (K, V)>) -> Self {
        self.env.extend(vars.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// Inherits this program's environment, for build tools that are set up by it.
    #[must_use]
    pub fn inherit_env(mut self) -> Self {
        self.inherit_env = true;
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Gives stdout to the caller instead of the log ([`Process::take_stdout`]); stderr is inherited.
    #[must_use]
    pub fn piped(mut self) -> Self {
        self.piped = true;
        self
    }

    /// Starts the process, in a process group of its own.
    ///
    /// # Errors
    /// Where the program or `setpriv` cannot be started, or the log not opened.
    pub fn spawn(&self) -> Result<Process> {
        let mut command = Command::new(setpriv()?);
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program).args(&self.args);
        if !self.inherit_env {
            command.env_clear();
        }
        command.envs(&self.env).stdin(Stdio::null()).process_group(0);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        if self.piped {
            command.stdout(Stdio::piped());
        } else {
            let log = File::options()
                .create(true)
                .append(true)
                .open(&self.log)
                .with_context(|| format!("opening the log {}", self.log.display()))?;
            command.stdout(log.try_clone()?).stderr(log);
        }
        let child = fork(command).with_context(|| format!("starting {} ({})", self.name, self.program.display()))?;
        Ok(Process { name: self.name.clone(), log: self.log.clone(), child, exited: None })
    }
}

/// A running child; dropping it kills its whole process group and waits.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    exited: Option<ExitStatus>,
}

impl Process {
    /// The process id, which is also its group's.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file that holds its output.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Everything it has printed.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The pipe from a process that was started with [`Spec::piped`]; once.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its exit status, or none while it runs.
    ///
    /// # Errors
    /// Where the kernel doesn't know the process.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().with_context(|| format!("waiting for {}", self.name))?;
        }
        Ok(self.exited)
    }

    /// Fails, with the end of its log, if it has exited.
    ///
    /// # Errors
    /// Where the process no longer runs.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.exited()? {
            None => Ok(()),
            Some(status) => {
                bail!("{} ended early ({}); its log ends:\n{}", self.name, describe(status), self.log_tail())
            }
        }
    }

    /// The last 4 KiB of its log, for messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log, 4096).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Waits for the exit.
    ///
    /// # Errors
    /// Where it still runs after `timeout`.
    pub async fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} still runs after {timeout:?}; its log ends:\n{}", self.name, self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends a signal to the process and all of its group.
    ///
    /// # Errors
    /// Where the process has gone already.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // A reaped process's id may be another's by now.
        if let Some(status) = self.exited()? {
            bail!("{} has ended ({})", self.name, describe(status));
        }
        let pid = Pid::from_child(&self.child);
        kill_process_group(pid, signal).with_context(|| format!("sending {signal:?} to {}", self.name))
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// Where it had ended by itself before.
    pub async fn kill9(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.wait(Duration::from_secs(10)).await
    }

    /// SIGTERM, and waits for the exit; SIGKILL after `grace`.
    ///
    /// # Errors
    /// Where it had ended before, or had to be killed.
    pub async fn terminate(&mut self, grace: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        match self.wait(grace).await {
            Ok(status) => Ok(status),
            Err(error) => {
                self.kill9().await?;
                Err(error.context("SIGTERM was not enough"))
            }
        }
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// Where the process has gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        resident_bytes(self.id()).with_context(|| format!("reading the memory of {}", self.name))
    }
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// Where the process has gone.
pub fn resident_bytes(id: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let kibibytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .context("it has no VmRSS: it is ending")?;
    Ok(kibibytes * 1024)
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.signal(Signal::KILL).is_ok() {
            // Waiting makes sure that its ports and files are free when this returns.
            let _ = self.child.wait();
        }
    }
}

/// The last bytes of a file, from a line's start where one is near.
///
/// # Errors
/// Where the file cannot be read.
pub fn tail(path: &Path, bytes: u64) -> Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut buffer = Vec::new();
    file.read_to_end(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer).into_owned())
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

/// The program named `name` on this program's own search path.
///
/// # Errors
/// Where there is none.
pub fn which(name: &str) -> Result<PathBuf> {
    std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("`{name}` is not on the PATH"))
}

fn setpriv() -> Result<&'static Path> {
    static SETPRIV: OnceLock<Option<PathBuf>> = OnceLock::new();
    SETPRIV.get_or_init(|| which("setpriv").ok()).as_deref().context(
        "`setpriv` (package util-linux, Linux only) is needed: it ends the test ground's processes with their parent",
    )
}

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

fn fork(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, reply) in jobs {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (reply, child) = mpsc::channel();
    spawner
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, reply))
        .map_err(|_| anyhow!("the thread that starts processes has ended"))?;
    Ok(child.recv().context("the thread that starts processes has ended")??)
}
