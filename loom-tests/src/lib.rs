//! Tests of smstream.
