//! The shell of somebody who follows the documentation: its blocks run as they stand, and `aws`, `helm` and `kubectl` are programs of
//! the tests.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ground::cache;
use ground::folders::Folder;
use ground::kubernetes::Access;
use ground::moto::{Moto, Partition};
use ground::snippets;
use ground::tools::{Tool, tool};
use serde_json::Value;
use tokio::process::Command;

use crate::helm::{finish, read, root, text};

/// The blocks of shell commands under a heading of a page, in their order, unindented.
pub fn blocks(page: &str, heading: &str) -> Vec<String> {
    let all = snippets::blocks(&read(page)).into_iter();
    let found: Vec<String> =
        all.filter(|(under, language, _)| under == heading && language == "sh").map(|(_, _, text)| text).collect();
    assert!(!found.is_empty(), "{page} has no shell commands under {heading}");
    found
}

pub struct Shell {
    folder: Folder,
    env: BTreeMap<String, String>,
    _moto: Option<Moto>,
}

impl Shell {
    /// With `aws` and no account.
    pub async fn new() -> Self {
        let folder = Folder::create("shell").unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let home = folder.path().display().to_string();
        let env = BTreeMap::from([("PATH".to_owned(), path), ("HOME".to_owned(), home)]);
        let shell = Self { folder, env, _moto: None };
        let aws = cache::consumers_python().await.unwrap().join("aws");
        // The version of PyPI does not look at AWS_REGION, as the one does that people have.
        shell.program("aws", &format!("AWS_DEFAULT_REGION=${{AWS_REGION-}} exec {} \"$@\"", aws.display()));
        shell
    }

    /// As the administrator of an account of moto's.
    pub async fn on_moto(partition: Partition) -> Self {
        let mut shell = Self::new().await;
        let moto = Moto::start(&cache::python().await.unwrap(), shell.folder.path(), partition).await.unwrap();
        shell.env.extend(moto.account().env());
        Self { _moto: Some(moto), ..shell }
    }

    pub fn on(mut self, cluster: &Access) -> Self {
        self.env.insert("KUBECONFIG".to_owned(), cluster.kubeconfig.display().to_string());
        self
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A program of the shell's own.
    pub fn program(&self, name: &str, script: &str) {
        let path = self.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// kubectl, with commands before it and arguments after the ones that it is given.
    pub async fn kubectl(&self, before: &str, after: &str) {
        let (program, first) = cache::kubernetes().await.unwrap().command("kubectl");
        self.program("kubectl", &format!("{before}\nexec {} {} \"$@\" {after}", program.display(), first.join(" ")));
    }

    /// helm, which takes the chart from this repository, waits for no pod (there are none), and does `verb` in the place of `install`.
    pub async fn helm(&self, verb: &str) {
        let helm = tool(Tool::Helm).await.unwrap();
        let script = format!(
            "case \"$1 $3\" in\n\
             'install oci://ghcr.io/s3-access-operator/charts/s3-access-operator' | 'install deploy/chart') ;;\n\
             'package ') exec {helm} package \"$2\" --destination \"$HOME\" ;;\n\
             *) echo \"helm $*\" >&2; exit 1 ;;\nesac\n\
             name=$2; shift 3\n\
             for arg; do shift; [ \"$arg\" = --wait ] || set -- \"$@\" \"$arg\"; done\n\
             exec {helm} {verb} \"$name\" deploy/chart \"$@\"",
            helm = helm.display()
        );
        self.program("helm", &script);
    }

    /// Runs commands as if each were typed, and ends with the first that fails; their standard output.
    pub async fn run(&self, script: &str) -> String {
        self.run_with(script, &BTreeMap::new()).await
    }

    pub async fn run_with(&self, script: &str, env: &BTreeMap<String, String>) -> String {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]).env_clear().envs(&self.env).envs(env).current_dir(root());
        finish(command, "").await.unwrap_or_else(|error| panic!("{script}\n{error}"))
    }

    pub async fn json(&self, script: &str) -> Value {
        serde_json::from_str(&self.run(&format!("{script} --output json")).await).unwrap()
    }

    /// The outputs of a stack, by name.
    pub async fn outputs(&self, stack: &str) -> BTreeMap<String, String> {
        let found = self.json(&format!("aws cloudformation describe-stacks --stack-name {stack}")).await;
        let outputs = found["Stacks"][0]["Outputs"].as_array().unwrap();
        outputs.iter().map(|one| (text(&one["OutputKey"]).to_owned(), text(&one["OutputValue"]).to_owned())).collect()
    }

    /// The words of a line, as xargs has them.
    pub async fn words(&self, line: &str) -> Vec<String> {
        let words = self.run(&format!("xargs printf '%s\\n' <<'END'\n{line}\nEND")).await;
        words.lines().map(ToOwned::to_owned).collect()
    }
}
