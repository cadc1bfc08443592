//! Identifiers and secrets in AWS's formats, from a seed: the same run makes the same world.

/// What an identifier stands for; AWS marks each type with a prefix (IAM user guide, "Unique identifiers").
#[derive(Debug, Clone, Copy)]
pub(super) enum Prefix {
    AccessKey,
    TemporaryKey,
    User,
    Group,
    Role,
    Policy,
    SshKey,
    ServiceCredential,
}

impl Prefix {
    fn as_str(self) -> &'static str {
        match self {
            Self::AccessKey => "AKIA",
            Self::TemporaryKey => "ASIA",
            Self::User => "AIDA",
            Self::Group => "AGPA",
            Self::Role => "AROA",
            Self::Policy => "ANPA",
            Self::SshKey => "APKA",
            Self::ServiceCredential => "ACCA",
        }
    }

    /// Access keys have 20 characters, other identifiers 21.
    fn length(self) -> usize {
        match self {
            Self::AccessKey | Self::TemporaryKey | Self::SshKey => 20,
            Self::User | Self::Group | Self::Role | Self::Policy | Self::ServiceCredential => 21,
        }
    }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A seeded source of identifiers and of choices.
#[derive(Debug, Clone)]
pub(super) struct Ids(fastrand::Rng);

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    fn text(&mut self, length: usize, alphabet: &[u8]) -> String {
        (0..length).map(|_| char::from(alphabet[self.0.usize(..alphabet.len())])).collect()
    }

    pub(super) fn id(&mut self, prefix: Prefix) -> String {
        let start = prefix.as_str();
        let rest = self.text(prefix.length() - start.len(), BASE32);
        format!("{start}{rest}")
    }

    /// A secret access key: 40 characters, `+` and `/` among them.
    pub(super) fn secret(&mut self) -> String {
        self.text(40, BASE64)
    }

    /// A session token; real ones are longer and as opaque.
    pub(super) fn token(&mut self) -> String {
        self.text(120, BASE64)
    }

    /// Upper-case text, such as a signing certificate's identifier or a virtual device's seed.
    pub(super) fn base32(&mut self, length: usize) -> String {
        self.text(length, BASE32)
    }

    /// A request identifier, another one for each answer.
    pub(super) fn request_id(&mut self) -> String {
        let (high, low) = (self.0.u64(..), self.0.u64(..));
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    /// A number in `0..=limit`.
    pub(super) fn up_to(&mut self, limit: u64) -> u64 {
        self.0.u64(0..=limit)
    }
}
