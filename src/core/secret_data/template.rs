//! `format: template`: the tenant's own text, in a sandbox.

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior, context};
use secrecy::ExposeSecret;

use super::{Credentials, Entries, RenderError, Target};

/// Instructions that a template may take: a few thousand suffice for any file of credentials.
const FUEL: u64 = 20_000;

pub(super) fn entries(
    templates: &BTreeMap<String, String>,
    credentials: &Credentials,
    target: &Target,
) -> Result<Entries, RenderError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    let variables = context! {
        access_key_id => credentials.access_key_id.as_str(),
        secret_access_key => credentials.secret_access_key.expose_secret(),
        region => target.region.as_str(),
        endpoint => target.endpoint.clone().unwrap_or_default(),
        bucket => target.buckets.first().cloned().unwrap_or_default(),
        buckets => target.buckets.clone(),
        user_arn => target.user_arn.as_str(),
    };
    templates
        .iter()
        .map(|(key, template)| {
            let rendered = environment.render_str(template, &variables);
            // An error's detail may quote a value, so only its kind and line are told.
            rendered
                .map(|text| (key.clone(), text))
                .map_err(|error| RenderError::Template {
                    key: key.clone(),
                    problem: match error.line() {
                        Some(line) => format!("{} in line {line}", error.kind()),
                        None => error.kind().to_string(),
                    },
                })
        })
        .collect()
}
