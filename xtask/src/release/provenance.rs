//! Where the files of a release come from, as SLSA has it said (provenance v1, in an in-toto statement).

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::{NAME, VERSION, tell};
use crate::rustc;

/// What was built, from what, by whom.
pub(crate) struct Build<'a> {
    /// `https://github.com/OWNER/NAME`.
    pub(crate) repository: &'a str,
    /// Where the image goes.
    pub(crate) registry: &'a str,
    /// The commit.
    pub(crate) revision: &'a str,
    /// Each file or image, and its SHA-256 in hex.
    pub(crate) subjects: &'a [(String, String)],
    /// Cargo.lock's SHA-256 in hex.
    pub(crate) lock: &'a str,
}

pub(crate) async fn statement(build: &Build<'_>) -> Result<Value> {
    let repository = build.repository;
    let compiler = rustc();
    let compiler = tell(Path::new(compiler.as_std().get_program()), &["--version"]).await?;
    // On a machine of nobody's, nobody vouches.
    let variable = |name: &str| std::env::var(name).ok().filter(|_| std::env::var_os("GITHUB_ACTIONS").is_some());
    let builder = variable("GITHUB_WORKFLOW_REF").map(|workflow| format!("https://github.com/{workflow}"));
    let builder = builder.unwrap_or_else(|| format!("{repository}/blob/v{VERSION}/deploy/docs/release.md#by-hand"));
    let subjects: Vec<Value> =
        build.subjects.iter().map(|(name, digest)| json!({ "name": name, "digest": { "sha256": digest } })).collect();
    Ok(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": format!("{repository}/blob/v{VERSION}/deploy/docs/release.md"),
                "externalParameters": { "name": NAME, "version": VERSION, "registry": build.registry },
                "internalParameters": { "compiler": compiler.trim() },
                "resolvedDependencies": [
                    {
                        "uri": format!("git+{repository}@refs/tags/v{VERSION}"),
                        "digest": { "gitCommit": build.revision },
                    },
                    { "name": "Cargo.lock", "digest": { "sha256": build.lock } },
                ],
            },
            "runDetails": { "builder": { "id": builder } },
        },
    }))
}
