//! The System V part: every operation, every error, and parties that others wrote. See the table in docs/PREDECESSORS.md.
//!
//! Whatever a test creates goes with a guard, also when it fails. A test that needs a second process starts this program
//! again and asks for one of the roles.

mod bad;
mod c;
mod denied;
mod limited;
mod msg;
mod roles;
mod sem;
mod shm;
mod util_linux;
