//! The service authorization reference, as `cargo xtask actions` writes it down: which actions a service has, what each is
//! about, and which condition keys it knows.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::core::class::{Effort, Pattern};

const TABLE: &str = include_str!("actions.tsv");

/// A service whose actions and keys are all known.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// What stands before the colon of its actions.
    pub prefix: &'static str,
    /// By their names in small letters: IAM reads them in either case.
    pub actions: BTreeMap<String, Action>,
    pub resources: Vec<ResourceType>,
    pub keys: Vec<Key>,
}

/// An action. What it is about, and the keys that it knows, are places in the lists of its service.
#[derive(Debug)]
pub(super) struct Action {
    pub name: &'static str,
    pattern: Pattern,
    pub resources: Vec<usize>,
    pub keys: Vec<usize>,
}

/// What an action may be about.
#[derive(Debug)]
pub(super) struct ResourceType {
    pub name: &'static str,
    /// As the reference has it, with `${...}` for what stands for any text.
    #[cfg(test)]
    pub format: &'static str,
    /// The five parts of its ARN after `arn`, the last with colons.
    arn: Vec<Part>,
    keys: Vec<usize>,
}

/// A condition key. One that ends in `*` stands for many: a tag's, say.
#[derive(Debug)]
pub(super) struct Key {
    pub name: String,
    lower: String,
}

impl Key {
    fn is(&self, lower: &str) -> bool {
        match self.lower.strip_suffix('*') {
            Some(start) => lower.len() > start.len() && lower.starts_with(start),
            None => lower == self.lower,
        }
    }
}

/// A part of an ARN, with `*` and `?`.
#[derive(Debug)]
pub(super) struct Part {
    pattern: Pattern,
    /// What it is, where it is only that.
    plain: Option<String>,
}

impl Part {
    pub(super) fn new(text: &str) -> Self {
        let plain = (!text.contains(['*', '?'])).then(|| text.to_owned());
        Self { pattern: Pattern::new(text), plain }
    }
}

impl ResourceType {
    /// Whether an ARN of these parts may be of that type. Most are of another service, which costs no walk.
    pub(super) fn meets(&self, parts: &[Part], effort: &Effort) -> bool {
        let differ =
            |(own, part): (&Part, &Part)| own.plain.is_some() && part.plain.is_some() && own.plain != part.plain;
        let open = |(own, part): &(&Part, &Part)| own.plain.is_none() || part.plain.is_none();
        let pairs = || self.arn.iter().zip(parts);
        self.arn.len() == parts.len()
            && !pairs().any(differ)
            && pairs().filter(open).all(|(own, part)| part.pattern.meets(&own.pattern, effort))
    }
}

impl Service {
    /// The key of that name, in whatever case.
    pub(super) fn has_key(&self, key: &str) -> bool {
        let lower = key.to_ascii_lowercase();
        self.keys.iter().any(|known| known.is(&lower))
    }

    /// Whether a request for the action may carry that key: the action's own, or one of what it is about.
    pub(super) fn knows(&self, action: &Action, key: &str) -> bool {
        let lower = key.to_ascii_lowercase();
        let of_resources = action.resources.iter().filter_map(|place| self.resources.get(*place));
        let keys = of_resources.flat_map(|resource| &resource.keys).chain(&action.keys);
        keys.filter_map(|place| self.keys.get(*place)).any(|known| known.is(&lower))
    }

    /// The actions that a pattern takes in, its service left out.
    pub(super) fn matching(&self, name: &str, effort: &Effort) -> Vec<&Action> {
        let lower = name.to_ascii_lowercase();
        let Some(wildcard) = lower.find(['*', '?']) else {
            return self.actions.get(&lower).into_iter().collect();
        };
        let pattern = Pattern::new(&lower);
        let start = &lower[..wildcard];
        let candidates = self.actions.iter().filter(|(lower, _)| lower.starts_with(start));
        candidates.filter(|(_, action)| pattern.meets(&action.pattern, effort)).map(|(_, action)| action).collect()
    }
}

/// The services that are known.
pub(super) fn services() -> &'static [Service] {
    static SERVICES: OnceLock<Vec<Service>> = OnceLock::new();
    SERVICES.get_or_init(|| read(TABLE))
}

/// The service of that prefix, in whatever case.
pub(super) fn service(prefix: &str) -> Option<&'static Service> {
    services().iter().find(|service| service.prefix.eq_ignore_ascii_case(prefix))
}

/// Keys and resource types stand before what refers to them.
fn read(table: &'static str) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&'static str> = line.split('\t').collect();
        if let &["service", prefix] = fields.as_slice() {
            services.push(Service { prefix, ..Service::default() });
            continue;
        }
        let Some(service) = services.last_mut() else { continue };
        match *fields.as_slice() {
            ["key", name, _] => {
                let name = whole(name, service.prefix);
                service.keys.push(Key { lower: name.to_ascii_lowercase(), name });
            }
            ["resource", name, arn, keys] => {
                let keys = service.places_of_keys(keys);
                service.resources.push(ResourceType {
                    name,
                    #[cfg(test)]
                    format: arn,
                    arn: parts_of(arn),
                    keys,
                });
            }
            ["action", name, resources, keys] => {
                let resources = resources.split(' ').map(|name| name.trim_end_matches('!'));
                let resources = resources.filter_map(|name| service.resources.iter().position(|own| own.name == name));
                let (resources, keys) = (resources.collect(), service.places_of_keys(keys));
                let lower = name.to_ascii_lowercase();
                let pattern = Pattern::new(&lower);
                service.actions.insert(lower, Action { name, pattern, resources, keys });
            }
            _ => {}
        }
    }
    services
}

impl Service {
    fn places_of_keys(&self, keys: &str) -> Vec<usize> {
        let names = keys.split(' ').map(|key| whole(key, self.prefix));
        names.filter_map(|name| self.keys.iter().position(|key| key.name == name)).collect()
    }
}

/// A key as it stands in a policy: the table leaves the service's own prefix out.
fn whole(key: &str, prefix: &str) -> String {
    if key.starts_with(':') { format!("{prefix}{key}") } else { key.to_owned() }
}

/// A bucket's name has no slash, a key has at least one character, and so has whatever else a placeholder stands for.
fn parts_of(arn: &str) -> Vec<Part> {
    let [bucket, _] = Pattern::buckets("*");
    let part = |part: &str| match part {
        "${BucketName}" => Part { pattern: bucket.clone(), plain: None },
        part => Part::new(&without_variables(part, "?*")),
    };
    // No placeholder holds a colon.
    arn.splitn(6, ':').skip(1).map(part).collect()
}

/// The text with something in place of each `${...}`; what does not end stays.
pub(super) fn without_variables(text: &str, instead: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, variable)) = rest.split_once("${") {
        let Some((_, after)) = variable.split_once('}') else { break };
        out.push_str(before);
        out.push_str(instead);
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_whole() {
        let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            *lines.entry(line.split('\t').next().unwrap_or_default()).or_default() += 1;
        }
        let count = |of: fn(&Service) -> usize| services().iter().map(of).sum::<usize>();
        let read = [
            ("action", count(|service| service.actions.len())),
            ("key", count(|service| service.keys.len())),
            ("resource", count(|service| service.resources.len())),
            ("service", services().len()),
        ];
        assert_eq!(lines, BTreeMap::from(read));
    }

    #[test]
    fn whatever_a_line_names_is_there() {
        for line in TABLE.lines() {
            let (own, named): (usize, usize) = match line.split('\t').collect::<Vec<_>>()[..] {
                ["action", name, types, keys] => {
                    let found = services().iter().filter_map(|service| service.actions.get(&name.to_ascii_lowercase()));
                    let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).count();
                    let wanted = (words(types), words(keys));
                    (found.filter(|action| (action.resources.len(), action.keys.len()) == wanted).count().min(1), 1)
                }
                _ => continue,
            };
            assert_eq!(own, named, "{line}");
        }
    }
}
