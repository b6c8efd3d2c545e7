//! The `lendfs` binary: hands its arguments to the command line.

fn main() -> std::process::ExitCode {
    lendfs::cli::main(std::env::args_os())
}
