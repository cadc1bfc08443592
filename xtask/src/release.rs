//! `release`: the binary that is shipped, one static file.

use anyhow::{Context, Result, ensure};

use crate::{build_binary, cargo};

pub(crate) async fn run() -> Result<()> {
    // Naming the target keeps the flag from the macros that run while the binary is built.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = cargo();
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    let binary = build_binary(&mut cargo, &["--release", "--target", &target]).await?;
    let content = std::fs::read(&binary).with_context(|| format!("reading {}", binary.display()))?;
    // A dynamic program names its loader in the file (ELF specification, PT_INTERP).
    let loader = b"/ld-linux";
    ensure!(!content.windows(loader.len()).any(|window| window == loader), "{} is not static", binary.display());
    println!("{}: static, {} bytes", binary.display(), content.len());
    Ok(())
}
