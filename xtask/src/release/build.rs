//! The binary that is shipped: the same wherever it is built, and on Linux one static file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::{build_binary, cargo, rustc};

/// A processor that there are binaries for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    pub(crate) const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// As Go and container registries name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As Rust names it.
    fn rust_name(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }
}

/// A system that there are binaries for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// The operator's own, and the command's.
    Linux,
    /// MacOS: for the command.
    Darwin,
}

impl System {
    /// As Go and krew name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Darwin => "darwin",
        }
    }

    fn is_of_this_machine(self) -> bool {
        let own = if std::env::consts::OS == "macos" { "darwin" } else { std::env::consts::OS };
        own == self.name()
    }
}

/// What a binary runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) system: System,
    pub(crate) architecture: Architecture,
}

impl Platform {
    /// All that a release has.
    pub(crate) const ALL: [Self; 4] = [
        Self { system: System::Linux, architecture: Architecture::Amd64 },
        Self { system: System::Linux, architecture: Architecture::Arm64 },
        Self { system: System::Darwin, architecture: Architecture::Amd64 },
        Self { system: System::Darwin, architecture: Architecture::Arm64 },
    ];

    pub(crate) fn linux(architecture: Architecture) -> Self {
        Self { system: System::Linux, architecture }
    }

    /// The one of this machine.
    pub(crate) fn here() -> Result<Self> {
        let here = Self::ALL.into_iter().find(|platform| platform.is_of_this_machine());
        let machine = || format!("there are no releases for {} {}", std::env::consts::OS, std::env::consts::ARCH);
        here.with_context(machine)
    }

    /// Such as `linux-amd64`.
    pub(crate) fn name(self) -> String {
        format!("{}-{}", self.system.name(), self.architecture.name())
    }

    /// Rust's target.
    pub(crate) fn target(self) -> String {
        let system = match self.system {
            System::Linux => "unknown-linux-gnu",
            System::Darwin => "apple-darwin",
        };
        format!("{}-{system}", self.architecture.rust_name())
    }

    fn is_of_this_machine(self) -> bool {
        self.system.is_of_this_machine() && self.architecture.rust_name() == std::env::consts::ARCH
    }

    /// What keeps this machine from building for it.
    pub(crate) async fn missing(self) -> Result<Option<String>> {
        if !self.system.is_of_this_machine() {
            return Ok(Some(format!("a machine with {}", self.system.name())));
        }
        let target = self.target();
        let output = rustc().args(["--print", "target-libdir", "--target", &target]).output().await?;
        let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        let has_std = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        if !has_std {
            return Ok(Some(format!("Rust's standard library for it: `rustup target add {target}`")));
        }
        if let Some(linker) = self.linker().filter(|linker| ground::processes::which(linker).is_err()) {
            let package = format!("gcc-{}-linux-gnu", self.architecture.rust_name().replace('_', "-"));
            return Ok(Some(format!("`{linker}` (Debian's {package}), the C compiler and linker for it")));
        }
        Ok(None)
    }

    /// The C compiler and linker, where it is not this machine's own; Apple's builds for both of its processors.
    fn linker(self) -> Option<String> {
        let foreign = self.system == System::Linux && !self.is_of_this_machine();
        foreign.then(|| format!("{}-linux-gnu-gcc", self.architecture.rust_name()))
    }
}

/// What this machine can build for, of these; what it cannot is said, and is an error where it was asked for by name.
pub(crate) async fn buildable(all: &[Platform], asked: impl Fn(Platform) -> bool) -> Result<Vec<Platform>> {
    let mut found = Vec::new();
    for platform in all {
        match platform.missing().await? {
            None => found.push(*platform),
            Some(missing) if asked(*platform) => bail!("{} needs {missing}", platform.name()),
            Some(missing) => println!("left out: {}, which needs {missing}", platform.name()),
        }
    }
    ensure!(!found.is_empty(), "this machine can build for none of them");
    Ok(found)
}

/// Builds the sources in `root`; the path of the binary. Neither folder leaves a trace in it.
pub(crate) async fn build(platform: Platform, root: &Path, target_folder: &Path) -> Result<PathBuf> {
    // Naming the target keeps the flags from the macros that run while the binary is built.
    let target = platform.target();
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cargo"),
    };
    // The last that fits is the one that counts: the target folder may lie in the root.
    let places = [(root, "/src"), (&cargo_home, "/cargo"), (target_folder, "/target")];
    let remap = |option: &str| places.map(|(path, name)| format!("{option}={}={name}", path.display()));
    let mut rust_flags = remap("--remap-path-prefix").to_vec();
    if platform.system == System::Linux {
        rust_flags.insert(0, "-Ctarget-feature=+crt-static".to_owned());
    }
    let c_flags = remap("-ffile-prefix-map").join(" ");
    let variable = format!("CARGO_TARGET_{}", target.to_uppercase().replace('-', "_"));
    let mut cargo = cargo();
    cargo
        .current_dir(root)
        .env_remove("RUSTFLAGS")
        // Between flags, where a path may have a space.
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags.join("\u{1f}"))
        .env(format!("CFLAGS_{}", target.replace('-', "_")), c_flags)
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TARGET_DIR", target_folder);
    if let Some(linker) = platform.linker() {
        cargo.env(format!("{variable}_LINKER"), &linker).env(format!("CC_{}", target.replace('-', "_")), &linker);
    }
    let binary = build_binary(&mut cargo, &["--release", "--target", &target]).await?;
    if platform.system == System::Linux {
        ensure_static(&binary)?;
    }
    Ok(binary)
}

/// A dynamic program names its loader in the file (ELF specification, PT_INTERP).
pub(crate) fn ensure_static(binary: &Path) -> Result<()> {
    let content = std::fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
    let loader = b"/ld-linux";
    ensure!(!content.windows(loader.len()).any(|window| window == loader), "{} is not static", binary.display());
    Ok(())
}
