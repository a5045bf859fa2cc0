//! The `floe` binary: the command line of the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(floe_node::cli::main())
}
