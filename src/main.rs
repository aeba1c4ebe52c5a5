//! `jeton`: reads the command line, then serves or calls a service that runs.

use std::process::ExitCode;

use jeton::{
    app, cli,
    cli::Invocation,
    config::{Config, Environment},
    error::chain,
    telemetry,
};

fn main() -> ExitCode {
    let environment: Environment = std::env::vars_os().collect();
    match cli::parse(std::env::args_os(), &environment) {
        Ok(Invocation::Serve(config)) => serve(&config),
        Ok(Invocation::Call(call)) => cli::run(*call, &environment),
        Err(exit_code) => exit_code,
    }
}

fn serve(config: &Config) -> ExitCode {
    // Dropped last, so that the reason of the end is written.
    let log = telemetry::init(&config.log);
    match app::serve(config, log.as_ref().ok()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = chain(&error), "the service ended");
            ExitCode::FAILURE
        }
    }
}
