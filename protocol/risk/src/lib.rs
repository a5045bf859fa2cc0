//! The mathematics of availability: from what members saw of each other to what is rebuilt, in integers.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]
pub mod correlation;
pub mod hazard;
pub mod holding;
pub mod integrity;
pub mod loss;
pub mod params;
pub mod probability;
pub mod reliability;
pub mod service;
pub use params::Params;
pub use probability::Probability;
