//! floe-tests
