//! The documentation's site: it is built, each of its links leads somewhere, and its search knows what the pages say.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

use ground::folders::Folder;

#[test]
fn the_site_is_built_without_a_broken_link_and_can_be_searched() {
    let folder = Folder::create("site").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.arg("site").arg("--to").arg(folder.path()).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    // Such as a placeholder in angle brackets, which a browser would swallow.
    assert!(!errors.contains("WARN"), "{errors}");
    let html = folder.path().join("html");
    let index = fs::read_dir(&html).unwrap().map(|entry| entry.unwrap().path());
    let index = index.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("searchindex"));
    let index: String = index.map(|path| fs::read_to_string(path).unwrap()).collect();
    for word in ["S3AccessKeyCompromised", "alerts.html#s3accesskeycompromised", "zh-CN/walk-through.html"] {
        assert!(index.contains(word), "the search does not know {word}");
    }
    let phone = fs::read_to_string(html.join("index.html")).unwrap();
    assert!(phone.contains("width=device-width"), "a phone would show it as small as a screen");
}
