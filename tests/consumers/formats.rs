//! How consumers whose own code is too large to install read what they are given, by their documentation.

use std::collections::BTreeMap;

/// Airflow's connection URI: login and password are percent-encoded, and the query has the extras. Key id, secret, region,
/// endpoint.
pub fn airflow(uri: &str) -> [String; 4] {
    let (credentials, query) = uri.strip_prefix("aws://").unwrap().split_once("@/?").unwrap();
    let (id, secret) = credentials.split_once(':').unwrap();
    let (region, endpoint) = query.strip_prefix("region_name=").unwrap().split_once("&endpoint_url=").unwrap();
    [id, secret, region, endpoint].map(decoded)
}

fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            assert!(byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte), "{} is not encoded", char::from(byte));
            plain.push(byte);
            continue;
        }
        let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
        plain.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
    }
    String::from_utf8(plain).unwrap()
}

/// Lines of `name=value`.
pub fn properties(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(|line| line.split_once('=').unwrap());
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
