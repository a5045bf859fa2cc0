//! A Floe node: actors round the machines, the command line, devnets, and the wiring of it all.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`config`], [`keys`] | what one operator chooses, and the secrets |
//! | [`clock`] | the one place that reads the system's clock for the machines |
//! | [`peer_book`] | the network's peer book in the store |

pub mod clock;
pub mod config;
pub mod keys;
pub mod peer_book;
