//! The program: parses the command line, runs the command, and exits with status 0, 1 for a failure, or 2 for bad usage.

use stateless_tcp::commands::cli::{self, Command, Invocation};
use stateless_tcp::commands::{check, doctor, replay, top, trace};
use stateless_tcp::config::LogFormat;
use stateless_tcp::config::keys;
use stateless_tcp::control::client;
use stateless_tcp::serve;
use stateless_tcp::services::dns;
use std::io::stderr;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let Invocation { verbose, command } = match cli::parse() {
        Ok(invocation) => invocation,
        Err(error) => {
            error.print();
            return ExitCode::from(error.exit_status());
        }
    };
    let (xdp_log, format) = match &command {
        Command::Run { config, .. } => (config.xdp_log.level(), config.log_format),
        Command::Replay { config, .. } => (None, config.log_format),
        _ => (None, LogFormat::Text),
    };
    log_to_stderr(verbose, xdp_log, format);
    let result = match command {
        Command::Run { config, source } => serve::run(*config, *source).map(|()| ExitCode::SUCCESS),
        Command::Reload { pid } => client::reload(pid).map(|outcome| {
            println!("{outcome}");
            ExitCode::SUCCESS
        }),
        Command::RotateKey { file, rotation } => match keys::rotate(&file, rotation) {
            Ok(()) => {
                println!("{} has new keys; `stateless-tcp reload` activates them", file.display());
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => Err(error.into()),
        },
        Command::Replay { input, output, config } => {
            replay::run(&config, &input, &output).map(|()| ExitCode::SUCCESS)
        }
        Command::Doctor { config, arguments } => doctor::run(&config, arguments),
        Command::Check(options) => check::run(&options).map(|answer| {
            println!("{answer}");
            ExitCode::SUCCESS
        }),
        Command::CheckZone { zone, include } => {
            dns::check_zone(&zone, &include).map_err(Into::into).map(|summary| {
                summary.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
                println!("{summary}");
                ExitCode::SUCCESS
            })
        }
        Command::Top(options) => top::run(options).map(|()| ExitCode::SUCCESS),
        Command::Trace(options) => trace::run(&options).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The log target of the XDP program's messages: its crate.
const XDP_TARGET: &str = "stateless_tcp_xdp";

/// Sets up the log by `RUST_LOG`, or else by `-v` with `info` as the default. Messages of the XDP program are always shown.
fn log_to_stderr(verbose: u8, xdp_log: Option<log::Level>, format: LogFormat) {
    let default = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let xdp = xdp_log.and_then(|level| format!("{XDP_TARGET}={level}").parse().ok());
    let filter = if let Some(xdp) = xdp { filter.add_directive(xdp) } else { filter };
    let colours = std::io::IsTerminal::is_terminal(&stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Text => log.with_ansi(colours).with_target(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
