//! What people and programs outside meet: the JSON model, the HTTP server in front of a node, and the client behind `floe`.
//!
//! The server turns requests into calls of one trait, [`service::Service`], which the node implements over its actors,
//! and its answers into the documents of [`model`]. Client and server share the model, so that a field has one spelling.
//! Every refusal, on both sides, is a [`problem::Problem`] with a stable code, an HTTP status and a process exit code.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`model`] | the documents: blobs, ruler and margins, network, committee, epochs, accounts, node, health |
//! | [`problem`] | codes, their classes, statuses and exit codes; the problem document |
//! | [`service`] | what the server needs from a node |
//! | [`server`] | routes, limits, spooling of uploads, streaming of reads |
//! | [`client`] | the blocking client of the command line |
//!
//! # Not here
//! What is true of a blob is decided in `protocol`; this crate shows it and never computes a verdict.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod client;
pub mod model;
pub mod problem;
pub mod server;
pub mod service;

pub use problem::{Code, ExitCode, Problem};
pub use service::Service;
