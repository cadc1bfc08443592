//! An answer of the query protocol, read into paths and texts.

use anyhow::{Context, Result};
use quick_xml::Reader;
use quick_xml::events::Event;

/// An answer: its elements without children, by path below the result, in the order in which they come.
pub struct Answer {
    pub status: u16,
    elements: Vec<(String, String)>,
}

impl Answer {
    pub fn read(status: u16, body: &str) -> Result<Self> {
        let mut reader = Reader::from_str(body);
        let (mut path, mut text, mut elements, mut opened) = (Vec::new(), String::new(), Vec::new(), false);
        loop {
            match reader.read_event().with_context(|| body.to_owned())? {
                Event::Start(start) => {
                    path.push(start.local_name().as_ref().to_owned());
                    text.clear();
                    opened = true;
                }
                Event::Text(piece) => text.push_str(&piece),
                Event::GeneralRef(entity) => text.push_str(&character(&entity)?),
                Event::End(_) => {
                    if opened {
                        elements.push((shown(&path), std::mem::take(&mut text)));
                    }
                    path.pop();
                    opened = false;
                }
                Event::Eof => return Ok(Self { status, elements }),
                _ => {}
            }
        }
    }

    /// The texts of an element; one that holds others has none.
    pub fn texts(&self, path: &str) -> Vec<&str> {
        self.elements.iter().filter(|(other, _)| other == path).map(|(_, text)| text.as_str()).collect()
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts(path).first().copied()
    }

    /// Whether an element is there, empty or not.
    pub fn has(&self, path: &str) -> bool {
        self.elements
            .iter()
            .any(|(other, _)| other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    /// Each element by its own name.
    pub fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.elements.iter().map(|(path, text)| (path.rsplit('.').next().unwrap_or_default(), text.as_str()))
    }
}

/// Without the two elements that frame every result, and the one that frames every error.
fn shown(path: &[String]) -> String {
    let framed = match path {
        [_, result, ..] if result.ends_with("Result") => 2,
        _ => 1,
    };
    path[framed.min(path.len())..].join(".")
}

fn character(entity: &str) -> Result<String> {
    let of_number = |number: &str| {
        let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
        char::from_u32(u32::from_str_radix(digits, radix).ok()?).map(String::from)
    };
    let found = match entity.strip_prefix('#') {
        Some(number) => of_number(number),
        None => quick_xml::escape::resolve_predefined_entity(entity).map(str::to_owned),
    };
    found.with_context(|| format!("the entity {entity}"))
}
