//! A node inside this machine: namespaces of its own for the network, mounts and processes, so that it takes no port,
//! mounts nothing and leaves no process behind, however it ends.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};

use crate::folders::{Folder, is_owned, root};
use crate::kubernetes::SERVICE;
use crate::processes::which;

/// The environment variable that tells a program that it runs inside, and which folder is its own.
pub const INSIDE: &str = "GROUND_INSIDE";
/// The node's address, which pods reach too.
pub const ADDRESS: &str = "10.0.0.1";

const CGROUPS: &str = "/sys/fs/cgroup";
/// Where containerd puts the groups of all containers.
const CONTAINERS: &str = "k8s.io";
/// Its share of the CPUs, in version 1 and in version 2: that of eight threads outside. With that of one, which is usual, all pods
/// together wait for whatever else runs here.
const SHARES: [(&str, &str); 2] = [("cpu.shares", "8192"), ("cpu.weight", "800")];
const UNSHARE: [&str; 8] =
    ["--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"];

/// What keeps this machine from running a node, in words; nothing where it can.
#[must_use]
pub fn missing() -> Option<String> {
    if !rustix::process::getuid().is_root() {
        return Some("a node needs root".to_owned());
    }
    for (program, package) in
        [("unshare", "util-linux"), ("setpriv", "util-linux"), ("mount", "mount"), ("ip", "iproute2"), ("runc", "runc")]
    {
        if which(program).is_err() {
            return Some(format!("`{program}` is not installed (Debian's package {package})"));
        }
    }
    let trial = "mount -t tmpfs none /run && ip link set lo up && ip link add ground-0 type bridge \
                 && ip link add ground-1 type veth peer name ground-2";
    let output = Command::new("unshare").args(UNSHARE).args(["sh", "-c", trial]).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            return Some(format!("this machine allows no namespaces, mounts or bridges: {}", told.trim()));
        }
        Err(error) => return Some(format!("unshare: {error}")),
    }
    let own = cgroup(&format!("trial-{}", std::process::id()));
    let made = cgroup_folders(&own).iter().try_for_each(fs::create_dir);
    remove_cgroups(&own);
    made.err().map(|error| format!("this machine allows no control groups below {CGROUPS}: {error}"))
}

/// Runs this very program once more, inside, with the same arguments, and waits.
///
/// # Errors
/// Where it cannot be started.
pub fn run_inside(variables: &[(&str, &OsStr)]) -> Result<ExitStatus> {
    let folder = Folder::create("node")?;
    sweep()?;
    share()?;
    let status = Command::new("setpriv")
        // Whoever kills this kills that, and with the first process of its namespace the kernel ends all others.
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(UNSHARE)
        .arg("--")
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, folder.path())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .status()
        .context("starting unshare")?;
    remove_cgroups(&cgroup(&name_of(folder.path())));
    // containerd puts the groups of containers there, which their sudden end leaves empty.
    for container in containers(folder.path()) {
        remove_cgroups(&format!("{CONTAINERS}/{container}"));
    }
    Ok(status)
}

/// The folder of a program that [`run_inside`] has started; nothing elsewhere.
#[must_use]
pub fn inside() -> Option<PathBuf> {
    std::env::var_os(INSIDE).map(PathBuf::from)
}

/// Readies the network and the mounts of a program that runs inside.
///
/// # Errors
/// Where the kernel refuses.
pub fn set_up() -> Result<()> {
    for command in [
        "ip link set lo up",
        &format!("ip address add {SERVICE}/32 dev lo"),
        &format!("ip address add {ADDRESS}/32 dev lo"),
        // What the programs of a node keep at fixed places is this node's alone.
        "mount -t tmpfs tmpfs /run",
        "mount -t tmpfs tmpfs /var/log",
        "hostname node",
    ] {
        let mut words = command.split(' ');
        let output = Command::new(words.next().unwrap_or_default()).args(words).output().context(command.to_owned())?;
        ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The control group of all pods of the node with that folder.
#[must_use]
pub fn cgroup_of(folder: &Path) -> String {
    format!("/{}", cgroup(&name_of(folder)))
}

/// The ids of the containers and pods that containerd still knew at its end.
fn containers(folder: &Path) -> Vec<String> {
    let known = ["containers", "sandboxes"].map(|kind| folder.join("containerd/io.containerd.grpc.v1.cri").join(kind));
    let entries = known.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn cgroup(name: &str) -> String {
    format!("s3-access-operator-{name}")
}

/// That group in every hierarchy: there is one in version 2, and one for each controller in version 1.
fn cgroup_folders(name: &str) -> Vec<PathBuf> {
    if Path::new(CGROUPS).join("cgroup.controllers").exists() {
        return vec![Path::new(CGROUPS).join(name)];
    }
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
    hierarchies.filter(|path| path.join("cgroup.procs").exists()).map(|path| path.join(name)).collect()
}

/// Gives containers their share of the CPUs.
fn share() -> Result<()> {
    for folder in cgroup_folders(CONTAINERS) {
        fs::create_dir_all(&folder)?;
        for (file, share) in SHARES.map(|(file, share)| (folder.join(file), share)) {
            if file.exists() {
                fs::write(file, share)?;
            }
        }
    }
    Ok(())
}

/// Removes the groups of nodes whose owners were killed.
fn sweep() -> Result<()> {
    for hierarchy in cgroup_folders("") {
        for entry in fs::read_dir(hierarchy)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(node) = name.strip_prefix(&cgroup("")).filter(|node| node.starts_with("node-")) else { continue };
            if !is_owned(&root()?.join(node))? {
                remove_cgroups(&name);
            }
        }
    }
    Ok(())
}

fn remove_cgroups(name: &str) {
    fn remove(folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
        let _ = fs::remove_dir(folder);
    }
    cgroup_folders(name).iter().for_each(|folder| remove(folder));
}
