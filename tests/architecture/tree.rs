//! The source as it stands in its files: modules, what they import, and their functions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Such as `core`, `plan`, `key`; the crate's root is empty.
pub type Module = Vec<String>;

/// The files of a crate, by their paths below `src`.
pub struct Tree(pub BTreeMap<String, String>);

impl Tree {
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect())
    }

    pub fn ours() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut files, mut folders) = (BTreeMap::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|found| found == "rs") {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    files.insert(name, fs::read_to_string(&path).unwrap());
                }
            }
        }
        Self(files)
    }

    /// Its modules; neither tests nor the program, which only calls the library.
    pub fn modules(&self) -> BTreeMap<Module, Reading> {
        let files = self.0.iter().filter(|(file, _)| *file != "main.rs" && !file.ends_with("tests.rs"));
        let read = files.map(|(file, text)| {
            let mut module: Module = file.trim_end_matches(".rs").split('/').map(ToOwned::to_owned).collect();
            module.pop_if(|last| ["mod", "lib"].contains(&last.as_str()));
            let reading = Reading::of(&module, &without_tests(tokens(text)));
            (module, reading)
        });
        read.collect()
    }
}

/// Which modules import which others, those of the same room aside.
pub fn imports(modules: &BTreeMap<Module, Reading>) -> BTreeMap<Module, BTreeSet<Module>> {
    let of = |module: &Module, reading: &Reading| {
        let inside = reading.paths.iter().filter(|path| path[0] == "crate");
        let targets = inside.filter_map(|path| {
            let mut known = (1..path.len()).rev().map(|end| path[1..=end].to_vec());
            known.find(|target| modules.contains_key(target))
        });
        targets.filter(|target| !target.starts_with(module) && !module.starts_with(target)).collect()
    };
    modules.iter().map(|(module, reading)| (module.clone(), of(module, reading))).collect()
}

/// What a module imports or names by its path, and its functions.
#[derive(Default)]
pub struct Reading {
    /// Those into the crate begin with `crate`.
    pub paths: BTreeSet<Module>,
    /// Each with the number of its parameters, without the receiver.
    pub functions: Vec<(String, usize)>,
}

impl Reading {
    fn of(here: &Module, tokens: &[String]) -> Self {
        let mut reading = Self::default();
        let mut rest = tokens;
        while let Some((token, after)) = rest.split_first() {
            rest = match token.as_str() {
                "use" if after.first().is_some_and(|next| next != "<") => reading.tree(here, &[], after),
                "fn" if after.len() > 1 => {
                    reading
                        .functions
                        .extend(after[0].chars().all(is_word).then(|| (after[0].clone(), parameters(after))));
                    after
                }
                _ => {
                    let (path, after) = path(rest);
                    if path.len() > 1 {
                        reading.note(here, &path);
                    }
                    after
                }
            };
        }
        reading
    }

    /// Takes in a tree of imports; answers what follows it.
    fn tree<'a>(&mut self, here: &Module, before: &[String], tokens: &'a [String]) -> &'a [String] {
        let (path, mut rest) = path(tokens);
        let whole = [before, &path].concat();
        if rest.first().is_some_and(|next| next == "{") {
            while rest[0] != "}" {
                rest = &rest[1..];
                if rest[0] != "}" {
                    rest = self.tree(here, &whole, rest);
                }
            }
            return &rest[1..];
        }
        self.note(here, &whole);
        let end = rest.iter().position(|token| [",", "}", ";"].contains(&token.as_str()));
        &rest[end.unwrap_or(rest.len())..]
    }

    fn note(&mut self, here: &Module, path: &[String]) {
        let ups = path.iter().take_while(|segment| *segment == "super").count();
        let inside = |above: &[String], rest: &[String]| [&["crate".to_owned()], above, rest].concat();
        self.paths.insert(match path[0].as_str() {
            "super" => inside(&here[..here.len().saturating_sub(ups)], &path[ups..]),
            "self" => inside(here, &path[1..]),
            _ => path.to_vec(),
        });
    }
}

/// The path that begins here, and what follows it: at least one token.
fn path(tokens: &[String]) -> (Module, &[String]) {
    let mut at = 1;
    let mut path = vec![tokens[0].clone()];
    while tokens.get(at).is_some_and(|token| token == "::") {
        at += 1;
        match tokens.get(at) {
            Some(next) if next.chars().all(is_word) => path.push(next.clone()),
            _ => break,
        }
        at += 1;
    }
    (path, &tokens[at..])
}

/// How many parameters a function takes, from its name on.
fn parameters(tokens: &[String]) -> usize {
    let (mut angles, mut depth, mut count, mut begun) = (0, 0, 0, false);
    for token in &tokens[1..] {
        match token.as_str() {
            "<" => angles += 1,
            ">" => angles -= 1,
            "(" if depth == 0 && angles > 0 => {}
            ")" if depth == 0 => {}
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth > 1 => depth -= 1,
            ")" => break,
            "," if depth == 1 && angles == 0 => begun = false,
            "&" | "mut" => {}
            // A receiver is no parameter.
            "self" if depth == 1 && count == 0 => begun = true,
            _ if depth == 1 && !begun => (begun, count) = (true, count + 1),
            _ => {}
        }
    }
    count
}

/// Leaves out whatever stands below `#[cfg(test)]`.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if !tokens[at..].iter().take(MARK.len()).eq(MARK) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += MARK.len();
        let mut depth = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 && [";", "}"].contains(&token.as_str()) {
                break;
            }
        }
    }
    kept
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn word(text: &str) -> usize {
    text.find(|letter| !is_word(letter)).unwrap_or(text.len())
}

/// Words, `::`, `->` and single signs; neither comments nor the insides of literals.
fn tokens(text: &str) -> Vec<String> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let word_end = word(rest);
        let after_hashes = rest[word_end..].trim_start_matches('#');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if ["r", "br"].contains(&&rest[..word_end]) && after_hashes.starts_with('"') {
            let end = format!("\"{}", "#".repeat(rest[word_end..].len() - after_hashes.len()));
            let begun = word_end + end.len();
            begun + rest[begun..].find(&end).map_or(0, |at| at + end.len())
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|letter| {
                let ends = letter == '"' && !escaped;
                escaped = letter == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if first == '\'' {
            let letter = rest[1..].strip_prefix('\\').map_or(1, |_| 2);
            let end = rest.char_indices().skip(letter + 1).take(if letter == 1 { 1 } else { 10 });
            end.into_iter().find(|(_, found)| *found == '\'').map_or_else(|| 1 + word(&rest[1..]), |(at, _)| at + 1)
        } else {
            let length = match (word_end, rest.get(..2)) {
                (0, Some("::" | "->")) => 2,
                (0, _) => first.len_utf8(),
                (word_end, _) => word_end,
            };
            tokens.push(rest[..length].to_owned());
            length
        };
        rest = rest[length..].trim_start();
    }
    tokens
}
