//! Where this crate has `unsafe`, and why.
