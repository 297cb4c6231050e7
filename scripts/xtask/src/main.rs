//! Checks that rustc cannot make. `cargo xtask tidy` reads the files git tracks and prints every
//! breach of the house rules with its file and line.

use std::process::ExitCode;

mod settings;
mod tidy;

fn main() -> ExitCode {
    let command = std::env::args().nth(1);
    if command.as_deref() == Some("tidy") {
        return tidy::run();
    }
    eprintln!("usage: cargo xtask tidy");
    ExitCode::from(2)
}
