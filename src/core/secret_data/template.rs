//! `format: template`: the tenant's own text, in a sandbox.
//!
//! A template engine is a programming language: with loops that double a text, a short template costs gigabytes, and a
//! chain of operators costs its parser the stack. So the tags of a template are held to a small part of the language
//! before the engine sees them: names, literals, comparisons, filters of a closed set, `if` and `for`. What is left can
//! grow no value, and what it prints is bounded as it is printed.

use std::collections::BTreeMap;
use std::io;

use minijinja::{Environment, UndefinedBehavior, Value, context, filters};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;
use zeroize::Zeroize;

use super::{Credentials, Entries, RenderError, SIZE_LIMIT, Target};
use crate::api::limits;

/// Instructions that a template may take: a few thousand suffice for any file of credentials.
const FUEL: u64 = 20_000;
/// Bytes that a filter may make: far more than any value here has.
const FILTERED: usize = 4_096;
/// `if`, `for` and what belongs to them, in one template: the parser descends for each `elif`.
const STATEMENTS_LIMIT: usize = 128;
/// What a tag may begin with, less its braces.
const STATEMENTS: [&str; 6] = ["if ", "elif ", "else", "endif", "for ", "endfor"];

pub(super) fn entries(
    templates: &BTreeMap<String, String>,
    credentials: &Credentials,
    target: &Target,
) -> Result<Entries, RenderError> {
    let environment = environment();
    let variables = context! {
        access_key_id => &*credentials.access_key_id,
        secret_access_key => credentials.secret_access_key.expose_secret(),
        session_token => credentials.token.as_ref().map_or("", |session| session.token.expose_secret()),
        session_expires_at => credentials.token.as_ref().map_or_else(String::new, |session| session.expires_at.to_string()),
        region => target.region.as_str(),
        endpoint => target.endpoint.clone().unwrap_or_default(),
        bucket => target.buckets.first().cloned().unwrap_or_default(),
        buckets => target.buckets.clone(),
        user_arn => target.user_arn.as_str(),
    };
    let mut left = SIZE_LIMIT;
    templates
        .iter()
        .map(|(key, template)| {
            let wrong = |problem: String| RenderError::Template { key: key.clone(), problem };
            check(template).map_err(wrong)?;
            let mut output = Output { text: Vec::new(), left };
            let rendered = environment
                .template_from_str(template)
                .and_then(|parsed| parsed.render_captured_to(&variables, &mut output).map(drop));
            if output.left == 0 {
                return Err(RenderError::TooLarge(SIZE_LIMIT + 1));
            }
            rendered.map_err(|error| wrong(told(&error)))?;
            left = output.left;
            let text = String::from_utf8(std::mem::take(&mut output.text));
            Ok((key.clone(), text.map_err(|_| wrong("it prints no text".to_owned()))?))
        })
        .collect()
}

/// An error's detail may quote a value, so only its kind and line are told.
fn told(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    let kind = error.kind();
    let help = match kind {
        minijinja::ErrorKind::UndefinedError => {
            ": the variables are access_key_id, secret_access_key, session_token, session_expires_at, region, endpoint, bucket, buckets and user_arn"
        }
        minijinja::ErrorKind::UnknownFilter => {
            ": the filters are default, first, indent, join, last, length, lower, replace, reverse, trim, upper and urlencode"
        }
        _ => "",
    };
    format!("{kind}{line}{help}")
}

/// Nothing but what is added here: no functions, and no filter that makes much of little.
fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("lower", |text: String| bounded(text.to_lowercase()));
    environment.add_filter("upper", |text: String| bounded(text.to_uppercase()));
    environment.add_filter("trim", |text: String| bounded(text.trim().to_owned()));
    environment.add_filter("reverse", |text: String| bounded(text.chars().rev().collect()));
    environment.add_filter("replace", |text: String, from: String, to: String| {
        // Each place takes at most what replaces it, so that the bound can be asked before.
        if text.len().saturating_mul(to.len().max(1)) > FILTERED * 16 {
            return Err(too_long());
        }
        bounded(text.replace(&from, &to))
    });
    environment.add_filter("indent", |text: String, width: usize| {
        if width > 64 {
            return Err(too_long());
        }
        bounded(text.replace('\n', &format!("\n{}", " ".repeat(width))))
    });
    environment
        .add_filter("urlencode", |text: String| bounded(utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string()));
    environment.add_filter("join", |parts: Vec<String>, between: Option<String>| {
        bounded(parts.join(between.as_deref().unwrap_or_default()))
    });
    environment.add_test("defined", |value: Value| !value.is_undefined());
    environment
}

fn bounded(text: String) -> Result<String, minijinja::Error> {
    if text.len() > FILTERED { Err(too_long()) } else { Ok(text) }
}

fn too_long() -> minijinja::Error {
    minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, "a filter makes a text that is too long")
}

/// Holds the tags of a template to the part of the language that is taken. Every tag found here ends where the engine ends
/// it: what it holds are words, and literals in which there is neither a quote nor a brace.
fn check(template: &str) -> Result<(), String> {
    let mut rest = template;
    let mut line = 1;
    let mut statements = 0;
    while let Some(at) = rest.find('{') {
        let (before, tag) = rest.split_at(at);
        line += before.matches('\n').count();
        let close = match tag.as_bytes().get(1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => return Err(format!("a comment in line {line}: leave it out")),
            _ => {
                rest = &tag[1..];
                continue;
            }
        };
        let inner = &tag[2..];
        let Some(end) = inner.find(close) else { return Err(format!("a tag in line {line} does not end")) };
        let content = &inner[..end];
        if content.len() + 4 > limits::TEMPLATE_TAG {
            return Err(format!("a tag in line {line} has more than {} characters", limits::TEMPLATE_TAG));
        }
        let content = content.strip_prefix(['-', '+']).unwrap_or(content);
        let content = content.strip_suffix(['-', '+']).unwrap_or(content);
        let content = content.trim_matches(|c: char| c.is_ascii_whitespace());
        if content.starts_with(['.', '$']) {
            return Err(format!(
                "a tag in line {line} is one of a Go template, as Helm's and External Secrets' are: here it is Jinja's form, such as {{{{ access_key_id }}}}"
            ));
        }
        if close == "%}" && !STATEMENTS.iter().any(|word| content == word.trim_end() || content.starts_with(word)) {
            return Err(format!("a statement in line {line} is none of if, elif, else, endif, for and endfor"));
        }
        statements += usize::from(close == "%}");
        if statements > STATEMENTS_LIMIT {
            return Err(format!("more than {STATEMENTS_LIMIT} statements"));
        }
        check_words(content).map_err(|found| {
            format!("{found:?} in line {line}: a tag holds names, literals, comparisons and filters, and nothing that computes")
        })?;
        line += inner[..end].matches('\n').count();
        rest = &inner[end + 2..];
    }
    Ok(())
}

/// Answers the first character that does not belong into a tag.
fn check_words(content: &str) -> Result<(), char> {
    let mut quoted: Option<char> = None;
    for c in content.chars() {
        let allowed = match quoted {
            Some(quote) => {
                quoted = quoted.filter(|_| c != quote);
                !matches!(c, '{' | '}' | '%' | '\\' | '#') && (c == quote || !matches!(c, '"' | '\''))
            }
            None => {
                quoted = Some(c).filter(|c| matches!(c, '"' | '\''));
                quoted.is_some() || c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "_.,|()=!<>".contains(c)
            }
        };
        if !allowed {
            return Err(c);
        }
    }
    quoted.map_or(Ok(()), Err)
}

/// What is printed, up to a bound. It may hold the secret key, and is wiped when it is given up.
struct Output {
    text: Vec<u8>,
    left: usize,
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len()).filter(|left| *left > 0) else {
            self.left = 0;
            return Err(io::ErrorKind::StorageFull.into());
        };
        self.left = left;
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn plain_tags_are_taken() {
        for template in [
            "no tag, { one brace } and a { { b } }",
            "{{ access_key_id }}:{{secret_access_key|urlencode}}",
            "{%- if endpoint != \"\" and not (region == 'x') -%}{{ endpoint }}{% elif a is defined %}{% else %}b{% endif %}",
            "{% for b in buckets %}{{ b }}{{ loop.index }}{% if not loop.last %},{% endif %}{% endfor %}",
            "{{ buckets | join(', ') | default(\"a-b.c/d:e\", true) }}",
        ] {
            assert_eq!(check(template), Ok(()), "{template}");
        }
    }

    #[test]
    fn what_computes_repeats_or_hides_is_refused() {
        let long = format!("{{{{ a {}}}}}", "or a ".repeat(60));
        let elifs = format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(STATEMENTS_LIMIT));
        for template in [
            "{{ -----1 }}",
            "${%}",
            "{{}",
            "{{ a ~ a }}",
            "{{ a * 9 }}",
            "{{ a + a }}",
            "{{ a - a }}",
            "{{ [a, a] }}",
            "{{ a[0] }}",
            "{{ {'a': 1} }}",
            "{% set a = 1 %}",
            "{% set a %}x{% endset %}",
            "{% macro m() %}{% endmacro %}",
            "{% include 'x' %}",
            "{% raw %}{{ a }}{% endraw %}",
            "{% filter upper %}x{% endfilter %}",
            "{# {{ \" #}{{ \"}}\" ~ a }}",
            "{{ \"}}\" ~ a }}",
            "{{ '\\'}}' ~ a }}",
            "{{ \"a }}",
            "{{ a",
            "{{ a\u{a0}}}",
            "{{ a @ b }}",
            long.as_str(),
            elifs.as_str(),
        ] {
            assert!(check(template).is_err(), "{template}");
        }
    }

    #[test]
    fn what_is_refused_is_told_with_its_line_and_only_beyond_the_limit() {
        let told = |template: &str, line: usize| {
            let problem = check(template).unwrap_err();
            assert!(problem.contains(&format!("line {line}")), "{template}: {problem}");
        };
        told("a {# b #}", 1);
        told("a\n\n{{ b }} {# c #}", 3);
        told("{{ a\n}}{{ b\n| lower }}\n{{ c", 4);
        told("a\n{% set b %}", 2);
        told("{{}}\n{{ a + b }}", 2);
        let tag = |length: usize| format!("{{{{{}}}}}", "a".repeat(length - 4));
        assert_eq!(check(&tag(limits::TEMPLATE_TAG)), Ok(()));
        assert!(check(&tag(limits::TEMPLATE_TAG + 1)).is_err());
        let statements = |count: usize| "{% else %}".repeat(count);
        assert_eq!(check(&statements(STATEMENTS_LIMIT)), Ok(()));
        assert!(check(&statements(STATEMENTS_LIMIT + 1)).is_err());
    }

    #[test]
    fn a_filter_makes_no_more_than_its_bound() {
        let printed = |tag: &str, length: usize| {
            let region = "a".repeat(length);
            environment().render_str(&format!("{{{{ region | {tag} }}}}"), context! { region }).ok()
        };
        assert_eq!(printed("upper", FILTERED), Some("A".repeat(FILTERED)));
        assert_eq!(printed("upper", FILTERED + 1), None);
        assert_eq!(printed("replace('a', '')", FILTERED * 16).as_deref(), Some(""));
        assert_eq!(printed("replace('a', '')", FILTERED * 16 + 1), None);
        assert_eq!(printed("replace('b', 'cc')", FILTERED * 8 + 1), None);
        assert_eq!(printed("indent(64)", 1).as_deref(), Some("a"));
        assert_eq!(printed("indent(1)", 1).as_deref(), Some("a"));
        assert_eq!(printed("indent(65)", 1), None);
        let is_defined = |name: &str| {
            let template = format!("{{% if {name} is defined %}}yes{{% else %}}no{{% endif %}}");
            environment().render_str(&template, context! { region => "" }).unwrap()
        };
        assert_eq!((is_defined("region").as_str(), is_defined("nothing").as_str()), ("yes", "no"));
    }
}
