//! One version, wherever it stands.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{NAME, VERSION};

const CHANGES: &str = "deploy/docs/changelog.md";

/// Holds every place that names the version against Cargo.toml's, and against the tag where there is one; what the
/// changelog has of it, without its heading.
pub(crate) fn agree(root: &Path, tag: Option<&str>) -> Result<String> {
    for (place, found) in found(root)? {
        ensure!(found == VERSION, "Cargo.toml has the version {VERSION}, and {place} has {found}");
    }
    let changes = fs::read_to_string(root.join(CHANGES))?;
    let (heading, section) = newest(&changes)?;
    let (version, date) = heading.split_once(", ").unwrap_or((heading, ""));
    ensure!(version == VERSION, "Cargo.toml has the version {VERSION}, and {CHANGES} begins with {version}");
    let Some(tag) = tag else { return Ok(section.to_owned()) };
    ensure!(tag == format!("v{VERSION}"), "the tag is {tag}, and the version is {VERSION}");
    if date.parse::<jiff::civil::Date>().is_err() {
        bail!("{CHANGES}: \"## {heading}\" is no release; with a date, \"## {version}, 2030-01-31\", it is");
    }
    Ok(section.to_owned())
}

/// The first heading of the changelog, and what stands below it.
fn newest(changes: &str) -> Result<(&str, &str)> {
    let (_, rest) = changes.split_once("\n## ").with_context(|| format!("{CHANGES} has no version"))?;
    let (heading, section) = rest.split_once('\n').unwrap_or((rest, ""));
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    Ok((heading.trim(), section.trim()))
}

/// Where the version stands beside Cargo.toml, and which.
fn found(root: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut add = |file: &str, what: &str, value: &Value| {
        found.push((format!("{file}, {what},"), value.as_str().unwrap_or_default().to_owned()));
    };
    let chart = yaml(root, "deploy/chart/Chart.yaml")?;
    for what in ["version", "appVersion"] {
        add("Chart.yaml", what, &chart[what]);
    }
    let file = "deploy/olm/manifests/s3-access-operator.clusterserviceversion.yaml";
    let bundle = yaml(root, file)?;
    add("the OLM bundle", "spec.version", &bundle["spec"]["version"]);
    let name = bundle["metadata"]["name"].as_str().unwrap_or_default();
    add("the OLM bundle", "metadata.name", &name.replace(&format!("{NAME}.v"), "").into());
    for file in [file, "deploy/deployment.yaml"] {
        let text = fs::read_to_string(root.join(file))?;
        for image in text.split(&format!("{NAME}:")).skip(1) {
            let tag: String = image.chars().take_while(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect();
            if !tag.is_empty() {
                add(file, "the image's tag", &tag.into());
            }
        }
    }
    Ok(found)
}

/// The first document of a file.
pub(crate) fn yaml(root: &Path, file: &str) -> Result<Value> {
    let text = fs::read_to_string(root.join(file)).with_context(|| format!("reading {file}"))?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).with_context(|| format!("reading {file}"))?;
    documents.into_iter().find(|document| !document.is_null()).with_context(|| format!("{file} is empty"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ground::folders::Folder;

    use super::{CHANGES, NAME, VERSION, agree, found, newest};

    #[test]
    fn the_version_is_the_same_in_every_place() {
        let root = ground::repository();
        assert_eq!(found(&root).unwrap().len(), 7);
        assert!(!agree(&root, None).unwrap().is_empty());
        let refused = agree(&root, Some("v9.9.9")).unwrap_err().to_string();
        assert!(refused.contains("the tag is v9.9.9"), "{refused}");
    }

    #[test]
    fn a_tag_is_released_once_the_changes_have_its_day_and_no_file_differs() {
        let copy = Folder::create("versions").unwrap();
        let bundle = "deploy/olm/manifests/s3-access-operator.clusterserviceversion.yaml";
        for file in ["deploy/chart/Chart.yaml", "deploy/deployment.yaml", bundle] {
            let to = copy.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(ground::repository().join(file), to).unwrap();
        }
        let changes = |heading: &str| {
            fs::create_dir_all(copy.path().join("deploy/docs")).unwrap();
            fs::write(copy.path().join(CHANGES), format!("# Changes\n\n## {heading}\n\n- new\n")).unwrap();
        };
        let tag = format!("v{VERSION}");
        changes(&format!("{VERSION}, not released yet"));
        let refused = agree(copy.path(), Some(&tag)).unwrap_err().to_string();
        assert!(refused.contains("is no release"), "{refused}");
        changes(&format!("{VERSION}, 2030-01-31"));
        assert_eq!(agree(copy.path(), Some(&tag)).unwrap(), "- new");
        let deployment = copy.path().join("deploy/deployment.yaml");
        let text = fs::read_to_string(&deployment).unwrap();
        fs::write(&deployment, text.replace(&format!("{NAME}:{VERSION}"), &format!("{NAME}:9.9.9"))).unwrap();
        let refused = agree(copy.path(), Some(&tag)).unwrap_err().to_string();
        assert!(refused.contains("deploy/deployment.yaml, the image's tag, has 9.9.9"), "{refused}");
    }

    #[test]
    fn the_notes_are_what_stands_below_the_newest_heading() {
        let changes = "# Changes\n\nWords.\n\n## 0.2.0, 2030-01-31\n\n- new\n\n### Do\n\n- this\n\n## 0.1.0, 2029-01-31\n\n- old\n";
        assert_eq!(newest(changes).unwrap(), ("0.2.0, 2030-01-31", "- new\n\n### Do\n\n- this"));
        assert!(newest("# Changes\n").is_err());
    }
}
