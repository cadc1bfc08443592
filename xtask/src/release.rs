//! `release`: the binary that is shipped, one static file, the same wherever it is built.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

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
    pub(crate) fn rust_name(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// Rust's target.
    pub(crate) fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.rust_name())
    }

    fn is_of_this_machine(self) -> bool {
        self.rust_name() == std::env::consts::ARCH
    }

    /// What keeps this machine from building for it.
    pub(crate) async fn missing(self) -> Result<Option<String>> {
        let target = self.target();
        let output = rustc().args(["--print", "target-libdir", "--target", &target]).output().await?;
        let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        let has_std = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        if !has_std {
            return Ok(Some(format!("Rust's standard library for it: `rustup target add {target}`")));
        }
        let linker = self.linker();
        if !self.is_of_this_machine() && ground::processes::which(&linker).is_err() {
            let package = format!("gcc-{}-linux-gnu", self.rust_name().replace('_', "-"));
            return Ok(Some(format!("`{linker}` (Debian's {package}), the C compiler and linker for it")));
        }
        Ok(None)
    }

    fn linker(self) -> String {
        format!("{}-linux-gnu-gcc", self.rust_name())
    }
}

pub(crate) async fn run() -> Result<()> {
    let here = Architecture::ALL.into_iter().find(|architecture| architecture.is_of_this_machine());
    let here = here.with_context(|| format!("there are no releases for {}", std::env::consts::ARCH))?;
    let root = ground::repository();
    let binary = build(here, &root, &root.join("target")).await?;
    println!("{}: static, {} bytes", binary.display(), std::fs::metadata(&binary)?.len());
    Ok(())
}

/// Builds the sources in `root`; the path of the binary. Neither folder leaves a trace in it.
pub(crate) async fn build(architecture: Architecture, root: &Path, target_folder: &Path) -> Result<PathBuf> {
    // Naming the target keeps the flags from the macros that run while the binary is built.
    let target = architecture.target();
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cargo"),
    };
    // The last that fits is the one that counts: the target folder may lie in the root.
    let places = [(root, "/src"), (&cargo_home, "/cargo"), (target_folder, "/target")];
    let remap = |option: &str| places.map(|(path, name)| format!("{option}={}={name}", path.display()));
    let rust_flags = [vec!["-Ctarget-feature=+crt-static".to_owned()], remap("--remap-path-prefix").to_vec()].concat();
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
    if !architecture.is_of_this_machine() {
        cargo
            .env(format!("{variable}_LINKER"), architecture.linker())
            .env(format!("CC_{}", target.replace('-', "_")), architecture.linker());
    }
    let binary = build_binary(&mut cargo, &["--release", "--target", &target]).await?;
    ensure_static(&binary)?;
    Ok(binary)
}

/// A dynamic program names its loader in the file (ELF specification, PT_INTERP).
pub(crate) fn ensure_static(binary: &Path) -> Result<()> {
    let content = std::fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
    let loader = b"/ld-linux";
    ensure!(!content.windows(loader.len()).any(|window| window == loader), "{} is not static", binary.display());
    Ok(())
}
