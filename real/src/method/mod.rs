//! Methods: how an IO is executed (`io_method`).
//!
//! | method | who executes | who completes |
//! |---|---|---|
//! | [`Method::Sync`] | the issuer, in place | the issuer |
//!
//! The issuer's side of every method is [`local::Local`], which also keeps the memory lent to IO and
//! the results not yet asked for.

mod kept;
pub(crate) mod local;

/// How the IO of a pool is executed. Chosen at creation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Method {
    /// The best that the machine offers. In this version that is [`Method::Sync`].
    #[default]
    Auto,
    /// In the issuer, during the call that starts it.
    Sync,
}

impl Method {
    /// The method that is used when this one is asked for.
    #[must_use]
    pub const fn resolved(self) -> Self {
        match self {
            Self::Auto | Self::Sync => Self::Sync,
        }
    }

    /// PostgreSQL's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Sync => "sync",
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
