//! One line of the report.

use std::error::Error;
use std::fmt;

use crate::system::remedy;

/// What a probe found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was tried.
    pub name: &'static str,
    /// Whether it works.
    pub works: bool,
    /// Whether method sync needs it.
    pub needed: bool,
    /// What happened, and what to do about it if it does not work.
    pub text: String,
}

impl Finding {
    /// Something that works.
    pub fn yes(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, works: true, needed: true, text: text.into() }
    }

    /// Something that does not.
    pub fn no(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, works: false, needed: true, text: text.into() }
    }

    /// Something that failed with an error, and advice.
    pub fn failed(name: &'static str, error: &(dyn Error + 'static), advice: &str) -> Self {
        let advice = remedy(error).unwrap_or_else(|| advice.to_owned());
        Self::no(name, format!("{error}: {advice}"))
    }

    /// Marks a finding that method sync does not depend on.
    pub fn optional(self) -> Self {
        Self { needed: false, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = if self.works { "yes" } else { "no" };
        write!(formatter, "{answer:<4}{:<24}{}", self.name, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_the_answer_first() {
        let line = Finding::no("open files", "16: raise it").to_string();
        assert_eq!(line, "no  open files              16: raise it");
    }
}
