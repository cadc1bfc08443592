//! The certificate authorities of the web, for images that hold nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Where rustls-native-certs looks for them, and Debian's own programs do, without the leading slash.
pub const PATH: &str = "etc/ssl/certs/ca-certificates.crt";

/// Mozilla's list, in PEM, in the version that Cargo.lock pins: a build does not depend on the machine's own.
#[must_use]
pub fn pem() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let body = STANDARD.encode(certificate);
        for line in body.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::pem;

    /// AWS's certificates are issued by its own authorities, in China by DigiCert's.
    #[test]
    fn the_authorities_of_aws_are_among_them() {
        let text = pem();
        assert!(text.matches("BEGIN CERTIFICATE").count() > 100);
        let found: Vec<u8> =
            webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().flat_map(|one| one.as_ref().to_vec()).collect();
        for name in ["Amazon Root CA 1", "DigiCert Global Root G2"] {
            assert!(found.windows(name.len()).any(|window| window == name.as_bytes()), "{name}");
        }
    }
}
