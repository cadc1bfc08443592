//! helm and its kind as child processes, with a home of their own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use ground::folders::Folder;
use ground::kubernetes::Access;
use ground::tools::{Tool, tool};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The release's name in most tests: with it, all objects bear the names of the kustomize base.
pub const RELEASE: &str = "s3-access-operator";
pub const NAMESPACE: &str = "s3-access-system";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn chart() -> PathBuf {
    root().join("deploy/chart")
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The objects of a YAML text; documents with nothing but comments are none.
pub fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error} in:\n{text}"));
    all.into_iter().filter(|object| !object.is_null()).collect()
}

pub fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    find(objects, kind, name).unwrap_or_else(|| panic!("no {kind} {name} in {:?}", names(objects)))
}

pub fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
}

/// Kind and name of each object.
pub fn names(objects: &[Value]) -> Vec<String> {
    objects.iter().map(|object| format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))).collect()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

/// The sets of values that every check is run over: those of `deploy/chart/ci`, and the defaults.
pub fn variants() -> Vec<(String, Vec<String>)> {
    let mut all = vec![("defaults".to_owned(), Vec::new())];
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(chart().join("ci")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        all.push((name, vec!["--values".to_owned(), file.display().to_string()]));
    }
    all
}

pub struct Helm {
    binary: PathBuf,
    home: Folder,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// Without a cluster.
    pub async fn new() -> Self {
        Self::of(Tool::Helm).await
    }

    pub async fn of(which: Tool) -> Self {
        Self { binary: tool(which).await.unwrap(), home: Folder::create("helm").unwrap(), kubeconfig: None }
    }

    pub fn on(self, cluster: &Access) -> Self {
        Self { kubeconfig: Some(cluster.kubeconfig.clone()), ..self }
    }

    /// Standard output; or, where helm fails, standard error.
    pub async fn run(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.binary);
        command.args(args).env_clear().env("HOME", self.home.path());
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        finish(command, "").await
    }

    /// What helm makes of the chart, as the base's namespace and names have it.
    pub async fn template(&self, args: &[&str]) -> Result<String, String> {
        let chart = chart().display().to_string();
        self.run(&[&["template", RELEASE, &chart, "--namespace", NAMESPACE], args].concat()).await
    }

    pub async fn objects(&self, args: &[&str]) -> Vec<Value> {
        documents(&self.template(args).await.unwrap_or_else(|error| panic!("helm template {args:?}: {error}")))
    }
}

/// Runs another of the tools in the repository's root.
pub async fn run(which: Tool, args: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(tool(which).await.unwrap());
    command.args(args).env_clear().current_dir(root());
    finish(command, input).await
}

pub async fn finish(mut command: Command, input: &str) -> Result<String, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // Beside reading: either may be longer than a pipe holds. A program that reads nothing may close it.
    let writing = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    let output = child.wait_with_output().await.unwrap();
    let _ = writing.await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(out.into_owned()) } else { Err(format!("{out}{err}")) }
}
