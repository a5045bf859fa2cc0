//! A Floe node: actors round the machines, the command line, devnets, and the wiring of it all.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`run`] | a node from its configuration to its end |
//! | [`actors`] | thin shells round the machines, one per concern |
//! | [`service`] | answers the HTTP surface |
//! | [`telemetry`] | what is counted |
//! | [`cli`], [`devnet`] | what people type, and whole networks on one machine |
//! | [`succession`] | stores that go on in a successor of their network |
//! | [`config`], [`keys`], [`member`] | what one operator chooses, the secrets, and what others are told |
//! | [`clock`], [`peer_book`] | the system's clock, and where peers are remembered |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod actors;
pub mod cli;
pub mod clock;
pub mod config;
pub mod devnet;
pub mod history;
pub mod keys;
pub mod member;
pub mod peer_book;
pub mod run;
pub mod service;
pub mod succession;
pub mod telemetry;
