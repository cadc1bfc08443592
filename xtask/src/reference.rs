//! The reference of the custom resources, made from their CustomResourceDefinitions: deploy/docs/api.md.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub(crate) const FILE: &str = "deploy/docs/api.md";

const HEAD: &str = "\
<!-- Written by `cargo xtask crds` from src/api; CI fails where the two differ. -->
# API reference

Every field of the two resources, as the CustomResourceDefinitions have it. `kubectl explain s3accessuser.spec
--recursive` says the same. What [the guides](README.md) say in sentences is here in tables.
";

/// The whole page.
///
/// # Errors
/// Where a field has no description.
pub(crate) fn page(crds: &[Value]) -> Result<String> {
    let mut page = HEAD.to_owned();
    for crd in crds {
        resource(crd, &mut page)?;
    }
    Ok(page)
}

fn resource(crd: &Value, page: &mut String) -> Result<()> {
    let spec = &crd["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = spec["versions"].get(0).context("a CRD without versions")?;
    let schema = &version["schema"]["openAPIV3Schema"];
    let names = &spec["names"];
    let short: Vec<&str> = names["shortNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    writeln!(page, "\n## {}\n", text(&names["kind"]))?;
    writeln!(page, "{}\n", text(&schema["description"]))?;
    writeln!(
        page,
        "`apiVersion: {}/{}`, {}; `kubectl get {}`.",
        text(&spec["group"]),
        text(&version["name"]),
        if spec["scope"] == "Cluster" { "cluster-scoped" } else { "namespaced" },
        short.join("` or `"),
    )?;
    for part in ["spec", "status"] {
        let schema = &schema["properties"][part];
        writeln!(
            page,
            "\n### {part} of {}\n\n| Field | Type | Default | Meaning |\n|---|---|---|---|",
            text(&names["kind"])
        )?;
        rows(schema, "", page)?;
        let mut rules = Vec::new();
        collect_rules(schema, &mut rules);
        if !rules.is_empty() {
            writeln!(page, "\nThe API server refuses an object of which one of these does not hold:\n")?;
            rules.iter().try_for_each(|rule| writeln!(page, "- {}", escaped(rule)))?;
        }
    }
    Ok(())
}

/// Without tags of HTML: a placeholder such as <id> is none, and in code nothing is.
fn escaped(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(at, part)| if at % 2 == 0 { part.replace('<', "\\<") } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`")
}

fn rows(schema: &Value, at: &str, page: &mut String) -> Result<()> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        let described = field["description"].as_str().or(field["items"]["description"].as_str());
        // The fields of a label selector are Kubernetes' own.
        let own = !path.contains(".selector.");
        ensure!(described.is_some() || !own, "{path} has no description: write one in src/api");
        let meaning = described.unwrap_or("as everywhere in Kubernetes").replace('\n', " ").replace('|', "\\|");
        let default = match &field["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            Value::Null => String::new(),
            Value::Object(members) if members.is_empty() => String::new(),
            default => format!("`{default}`"),
        };
        writeln!(page, "| `{path}` | {} | {default} | {meaning} |", kind(field))?;
        rows(field, &path, page)?;
        rows(&field["items"], &format!("{path}[]"), page)?;
    }
    Ok(())
}

fn kind(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<String> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(", ");
    }
    match field["type"].as_str() {
        Some("array") => {
            let most = field["maxItems"].as_u64().map(|most| format!(", at most {most}")).unwrap_or_default();
            format!("list of {}{most}", kind(&field["items"]))
        }
        Some("object") if field["additionalProperties"].is_object() => {
            format!("map of {}", kind(&field["additionalProperties"]))
        }
        Some("string") => match (field["format"].as_str(), field["maxLength"].as_u64()) {
            (Some("date-time"), _) => "time".to_owned(),
            (_, Some(most)) => format!("string, at most {most} characters"),
            _ => "string".to_owned(),
        },
        Some("integer") => match (field["minimum"].as_f64(), field["maximum"].as_f64()) {
            (Some(least), Some(most)) => format!("integer, {least} to {most}"),
            (Some(least), None) => format!("integer, {least} or more"),
            _ => "integer".to_owned(),
        },
        Some(other) => other.to_owned(),
        None => "any".to_owned(),
    }
}

/// The words of the CEL rules, each once.
fn collect_rules(schema: &Value, rules: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or_default().to_owned();
        if !message.is_empty() && !rules.contains(&message) {
            rules.push(message);
        }
    }
    for field in schema["properties"].as_object().into_iter().flat_map(|fields| fields.values()) {
        collect_rules(field, rules);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            collect_rules(&schema[inner], rules);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::page;

    fn crd(description: Option<&str>) -> serde_json::Value {
        let mut field = json!({ "type": "array", "maxItems": 3, "items": { "type": "string", "enum": ["a", "b"] } });
        if let Some(description) = description {
            field["description"] = description.into();
        }
        let spec = json!({
            "type": "object", "required": ["letters"], "properties": { "letters": field },
            "x-kubernetes-validations": [{ "rule": "true", "message": "letters are <letters>" }],
        });
        let schema = json!({ "description": "Letters.", "properties": { "spec": spec, "status": {} } });
        json!({ "spec": {
            "group": "example.com", "scope": "Namespaced", "names": { "kind": "Alphabet", "shortNames": ["abc"] },
            "versions": [{ "name": "v1", "schema": { "openAPIV3Schema": schema } }],
        } })
    }

    #[test]
    fn a_field_is_a_row_and_a_rule_a_line() {
        let page = page(&[crd(Some("Which | ones."))]).unwrap();
        assert!(page.contains("| `letters` | list of `a`, `b`, at most 3 | required | Which \\| ones. |"), "{page}");
        assert!(page.contains("- letters are \\<letters>"), "{page}");
        assert!(page.contains("`apiVersion: example.com/v1`, namespaced; `kubectl get abc`."), "{page}");
    }

    #[test]
    fn a_field_that_nobody_describes_is_an_error() {
        let error = page(&[crd(None)]).unwrap_err().to_string();
        assert!(error.contains("letters has no description"), "{error}");
    }
}
