//! The commands of the documentation, run by a shell that finds kubectl, the operator's binary and AWS's CLI.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ground::repository;
use ground::snippets::{self, How, Snippet};
use ground::stand::OPERATOR_NAMESPACE;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{DEFAULT, class, readme_user};
use crate::own::Own;

/// An IAM user of whom the pages say `USER` or `NAME`.
const BY_HAND: &str = "reports-by-hand";

/// What the ground has made before.
const OWN_POLICY: &str = "--policy-name s3-access-operator";

struct Shell {
    own: Own,
    folder: PathBuf,
}

/// The class that there is, and that a page would have marked as the default.
fn default_class() -> Value {
    class(DEFAULT, true, json!({ "allowedBuckets": ["*"], "allowedNames": ["*"] }))
}

fn program(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Shell {
    /// Where a reader stands: in the repository, with the README's S3AccessUser in files of the names that the pages use.
    async fn new(name: &str) -> Self {
        let own = Own::new(name).await;
        let folder = own.folder.path().join("reader");
        fs::create_dir_all(folder.join("bin")).unwrap();
        let (kubectl, args) = &own.scene.stand.kubernetes.kubectl;
        program(&folder.join("bin"), "kubectl", &format!("exec {} {} \"$@\"", kubectl.display(), args.join(" ")));
        let operator = own.scene.stand.operator.display();
        program(&folder.join("bin"), "s3-access-operator", &format!("exec {operator} \"$@\""));
        let python = PathBuf::from(std::env::var_os("CONSUMERS_PYTHON").expect("run `cargo xtask test`"));
        symlink(python.join("aws"), folder.join("bin/aws")).unwrap();
        symlink(repository().join("deploy"), folder.join("deploy")).unwrap();
        for file in ["reports.yaml", "user.yaml", "cr.yaml"] {
            fs::write(folder.join(file), readme_user().text).unwrap();
        }
        fs::write(folder.join("class-with-the-mark.yaml"), default_class().to_string()).unwrap();
        own.scene.iam.create_user().user_name(BY_HAND).send().await.unwrap();
        Self { own, folder }
    }

    /// Runs a block line by line as a reader does, who ends where a command fails; what it printed.
    async fn run(&self, snippet: &Snippet) -> String {
        let stand = &self.own.scene.stand;
        let made = self.own.scene.iam.create_access_key().user_name(BY_HAND).send().await.unwrap();
        let key = made.access_key.unwrap().access_key_id;
        let mut text = snippet.commands();
        for (said, meant) in
            [("USER", BY_HAND), (" NAME", " reports-by-hand"), ("AKIA…", &key), (OWN_POLICY, "--policy-name another")]
        {
            text = text.replace(said, meant);
        }
        let mut env: BTreeMap<String, String> = stand.aws.env();
        // AWS's CLI of this version knows the region by its older name alone.
        env.insert("AWS_DEFAULT_REGION".to_owned(), stand.aws.partition.region().to_owned());
        env.insert("S3ACCESS_CONSISTENCY_WINDOW".to_owned(), "2s".to_owned());
        let path = format!("{}:/usr/bin:/bin", self.folder.join("bin").display());
        let child = Command::new("bash")
            .args(["-euxo", "pipefail", "-c", &text])
            .current_dir(&self.folder)
            .env_clear()
            .envs(env)
            .env("PATH", path)
            .env("HOME", &self.folder)
            .env("KUBECONFIG", &stand.kubernetes.kubeconfig)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(crate::scene::SOON, child).await.expect("it does not end").unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {}:\n{text}\n{said}\n{errors}", snippet.page, snippet.heading);
        // Unless the block has.
        let _ = self.own.scene.iam.delete_access_key().user_name(BY_HAND).access_key_id(&key).send().await;
        said
    }
}

/// Words of a line, whatever the width of the columns.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_commands_of_the_documentation_do_what_it_says_and_iam_takes_its_policies() {
    let shell = Shell::new("shell").await;
    shell.own.apply(&default_class(), &[]).await.unwrap();
    // What the README's installation leaves behind.
    let secret = json!({ "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "s3-access-operator-aws", "namespace": OPERATOR_NAMESPACE },
        "stringData": { "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example" } });
    shell.own.apply(&secret, &[]).await.unwrap();
    let mut run = 0;
    for snippet in snippets::of(How::Shell).unwrap() {
        let said = shell.run(&snippet).await;
        // The heads of the tables that the page shows are those that are printed.
        for line in snippet.text.lines().filter(|line| line.starts_with("NAME ")) {
            assert!(said.lines().any(|found| words(found) == words(line)), "{}: no line {line}:\n{said}", snippet.page);
        }
        run += 1;
    }
    assert!(run >= 12, "{run} blocks");
    iam_takes_the_policies(&shell.own).await;
}

async fn iam_takes_the_policies(own: &Own) {
    let mut taken = 0;
    for (number, snippet) in snippets::of(How::Policy).unwrap().into_iter().enumerate() {
        let mut policy: Value =
            serde_json::from_str(&snippet.text).unwrap_or_else(|error| panic!("{error}: {snippet:?}"));
        if policy["Statement"].is_null() {
            policy = json!({ "Version": "2012-10-17", "Statement": [policy] });
        }
        let (name, text) = (format!("snippet-{number}"), policy.to_string());
        let what = format!("{} {}", snippet.page, snippet.heading);
        if policy["Statement"][0]["Principal"].is_object() {
            own.scene.iam.create_role().role_name(&name).assume_role_policy_document(text).send().await.expect(&what);
        } else {
            own.scene.iam.create_policy().policy_name(&name).policy_document(text).send().await.expect(&what);
        }
        taken += 1;
    }
    assert!(taken >= 4, "{taken}");
}
