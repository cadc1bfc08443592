//! The bill of materials: what is linked into the binary, as CycloneDX 1.5, from cargo's own view and Cargo.lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{NAME, Platform};
use crate::cargo;

/// A crate, by name and version.
type Crate = (String, String);

/// What cargo says of one crate, in a tree from the program down.
struct Line {
    depth: usize,
    krate: Crate,
    licence: String,
}

/// The same for the same sources, whatever else was built: features are those of the program alone, and what runs at
/// compile time is not in it. `time` is the sources', in seconds since 1970.
pub(crate) async fn of_materials(platform: Platform, time: i64, root: &Path) -> Result<Vec<u8>> {
    let target = platform.target();
    let mut tree = cargo();
    tree.current_dir(root).args(["tree", "--locked", "--package", NAME, "--edges", "normal,no-proc-macro"]);
    tree.args(["--target", &target, "--prefix", "depth", "--format", " {p}|{l}"]);
    let output = tree.output().await.context("starting cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Line> = String::from_utf8(output.stdout)?.lines().filter_map(line).collect();
    let checksums = checksums(&fs::read_to_string(root.join("Cargo.lock"))?);
    let bill = bill(&lines, &checksums, &target, time)?;
    let parts = bill["components"].as_array().map_or(0, Vec::len);
    ensure!(parts > 100, "the bill of materials names {parts} parts, and there are hundreds");
    Ok(serde_json::to_vec_pretty(&bill)?)
}

/// Such as `2 anyhow v1.0.98|MIT OR Apache-2.0`; a path or a mark of repetition may stand behind the version.
fn line(text: &str) -> Option<Line> {
    let (depth, rest) = text.split_once(' ')?;
    let (krate, licence) = rest.split_once('|')?;
    let mut words = krate.split(' ');
    let krate = (words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned());
    // Before SPDX's expressions, a slash was an "or".
    let licence = licence.trim_end_matches(" (*)").replace('/', " OR ");
    Some(Line { depth: depth.parse().ok()?, krate, licence })
}

/// The SHA-256 of each crate that comes from a registry.
fn checksums(lock: &str) -> BTreeMap<Crate, String> {
    let field = |package: &str, name: &str| {
        let value = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))?;
        Some(value.trim_matches('"').to_owned())
    };
    let packages = lock.split("[[package]]").skip(1);
    packages
        .filter_map(|package| {
            Some(((field(package, "name")?, field(package, "version")?), field(package, "checksum")?))
        })
        .collect()
}

fn bill(lines: &[Line], checksums: &BTreeMap<Crate, String>, target: &str, time: i64) -> Result<Value> {
    let program = lines.first().context("cargo tree says nothing")?;
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut components = BTreeMap::new();
    // Who stands above, at each depth.
    let mut above: Vec<String> = Vec::new();
    for line in lines {
        let reference = reference(&line.krate);
        above.truncate(line.depth);
        if let Some(parent) = above.last() {
            needs.entry(parent.clone()).or_default().insert(reference.clone());
        }
        needs.entry(reference.clone()).or_default();
        above.push(reference.clone());
        components.insert(reference, component(line, checksums));
    }
    components.remove(&reference(&program.krate));
    let mut subject = component(program, checksums);
    subject["type"] = "application".into();
    let dependencies: Vec<Value> =
        needs.iter().map(|(krate, needed)| json!({ "ref": krate, "dependsOn": needed })).collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": Timestamp::from_second(time).context("the sources' time")?.to_string(),
            "component": subject,
            "properties": [{ "name": "rust:target", "value": target }],
        },
        "components": components.into_values().collect::<Vec<Value>>(),
        "dependencies": dependencies,
    }))
}

/// As a package URL, by which scanners look for known weaknesses.
fn reference((name, version): &Crate) -> String {
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

fn component(line: &Line, checksums: &BTreeMap<Crate, String>) -> Value {
    let reference = reference(&line.krate);
    let (name, version) = &line.krate;
    let mut component =
        json!({ "type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference });
    if !line.licence.is_empty() {
        component["licenses"] = json!([{ "expression": line.licence }]);
    }
    if let Some(checksum) = checksums.get(&line.krate) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::{Line, bill, checksums, line};

    #[test]
    fn a_tree_becomes_parts_and_what_each_needs() {
        let tree = "0 program v0.1.0 (/somewhere)|Apache-2.0\n1 a v1.0.0|MIT/Apache-2.0\n2 b v2.0.0+x|MIT\n1 b v2.0.0+x|MIT (*)\n";
        let lines: Vec<Line> = tree.lines().filter_map(line).collect();
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry\"\nchecksum = \"00ff\"\n";
        let bill = bill(&lines, &checksums(lock), "x86_64-unknown-linux-gnu", 0).unwrap();
        assert_eq!(bill["metadata"]["component"]["name"], "program");
        let parts = bill["components"].as_array().unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(parts[0]["hashes"][0]["content"], "00ff");
        assert_eq!(parts[1]["purl"], "pkg:cargo/b@2.0.0%2Bx");
        assert_eq!(parts[1]["licenses"][0]["expression"], "MIT");
        let needs = bill["dependencies"].as_array().unwrap();
        let of = |name: &str| needs.iter().find(|one| one["ref"] == name).unwrap()["dependsOn"].clone();
        assert_eq!(of("pkg:cargo/program@0.1.0"), serde_json::json!(["pkg:cargo/a@1.0.0", "pkg:cargo/b@2.0.0%2Bx"]));
        assert_eq!(of("pkg:cargo/a@1.0.0"), serde_json::json!(["pkg:cargo/b@2.0.0%2Bx"]));
    }
}
