//! A writer of XML whose elements cannot be left open.

use std::fmt::{Display, Write};

use jiff::Timestamp;
use quick_xml::escape::escape;

/// A document in the making.
#[derive(Debug, Default)]
pub(super) struct Xml(String);

impl Xml {
    /// A document with one root element, of no namespace if that is empty.
    pub(super) fn document(root: &str, namespace: &str, content: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned());
        // Writing to a string cannot fail.
        let _ = match namespace {
            "" => write!(xml.0, "<{root}>"),
            namespace => write!(xml.0, "<{root} xmlns=\"{namespace}\">"),
        };
        content(&mut xml);
        let _ = write!(xml.0, "</{root}>");
        xml.0
    }

    /// An element that holds others.
    pub(super) fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        let _ = write!(self.0, "<{name}>");
        content(self);
        let _ = write!(self.0, "</{name}>");
    }

    /// An element that holds text.
    pub(super) fn text(&mut self, name: &str, text: impl Display) {
        let text = text.to_string();
        let _ = write!(self.0, "<{name}>{}</{name}>", escape(text.as_str()));
    }

    /// An element that holds a time, in whole seconds as AWS gives it.
    pub(super) fn time(&mut self, name: &str, time: Timestamp) {
        self.text(name, time.strftime("%Y-%m-%dT%H:%M:%SZ"));
    }

    /// A list in the style of the query protocol: a `member` for each item.
    pub(super) fn members<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut content: impl FnMut(&mut Self, T),
    ) {
        self.element(name, |xml| {
            for item in items {
                xml.element("member", |xml| content(xml, item));
            }
        });
    }
}
