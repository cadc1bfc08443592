//! The operator's binary.

use std::process::ExitCode;

use s3_access_operator::cli::Cli;

#[cfg(all(feature = "jemalloc", target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::from_command_line().execute().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the operator ends");
            eprintln!("s3-access-operator: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
