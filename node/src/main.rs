//! The `floe` binary: the command line of the library.

use std::process::ExitCode;

/// Decision 050.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(floe_node::cli::main())
}
