//! What a case is.

use std::pin::Pin;

use anyhow::Result;

use crate::target::Target;

/// A case on its way.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Something that AWS does, and a server either does too or not.
pub struct Case {
    /// What AWS does, as a sentence with underscores.
    pub name: &'static str,
    /// Tries it.
    pub run: for<'a> fn(&'a Target) -> Running<'a>,
}

/// Lists the cases of a module.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// The cases of this module.
        pub const CASES: &[$crate::cases::Case] = &[$(
            $crate::cases::Case { name: stringify!($name), run: |target| Box::pin($name(target)) },
        )*];
    };
}
pub(crate) use cases;
