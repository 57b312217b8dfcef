//! The commands of the binary: what the command line says, and a few calls each into the rooms below.
//!
//! Nothing here decides, and nothing prints on its own: every command writes to the handle that it is given and says by
//! [`Ended`] how it ended.

pub mod args;
pub mod check;
pub mod connect;
#[cfg(feature = "controller")]
pub mod controller;
pub mod explain;
#[cfg(feature = "controller")]
pub mod guard;
pub mod pins;
pub mod run;
mod load;
mod out;
mod program;
mod suppose;

pub use out::{Ended, Out};
pub use program::main;
