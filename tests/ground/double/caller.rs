//! Who calls, and with what credentials.

use jiff::Timestamp;

/// A caller that has proved who it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// The account itself, which may do everything.
    Root {
        /// The account's id.
        account: String,
    },
    /// An IAM user.
    User {
        /// The account's id.
        account: String,
        /// The user's name.
        name: String,
    },
    /// A session of a user's key.
    UserSession {
        /// The account's id.
        account: String,
        /// The user's name.
        name: String,
        /// When it was issued.
        issued: Timestamp,
    },
    /// A session of a role.
    Session {
        /// The account's id.
        account: String,
        /// The role's name.
        role: String,
        /// The session's name.
        session: String,
    },
}

impl Caller {
    /// The root of an account.
    pub fn root(account: impl Into<String>) -> Self {
        Self::Root { account: account.into() }
    }

    /// A user of an account.
    pub fn user(account: impl Into<String>, name: impl Into<String>) -> Self {
        Self::User { account: account.into(), name: name.into() }
    }

    /// The account that the caller belongs to.
    pub fn account(&self) -> &str {
        match self {
            Self::Root { account }
            | Self::User { account, .. }
            | Self::UserSession { account, .. }
            | Self::Session { account, .. } => account,
        }
    }
}

/// An access key with its secret, and the token of a session. `Debug` leaves the secrets out.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The key's identifier.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// The token, for a session only.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}
