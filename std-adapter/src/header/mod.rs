//! A copy of a segment's header: its words, the rules that they keep, and whether a file is a region as a listener makes it.
//!
//! Nothing of it is believed. It is all plain computation, but for [`fresh`], which reads a file.

pub(crate) mod check;
pub(crate) mod fresh;
pub(crate) mod rules;
pub(crate) mod words;
