//! The command line: what can be asked of the program, and how it is said. What it means is [`config`](crate::config)'s.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, CommandFactory as _, Parser, Subcommand};

use crate::commands::check::CheckOptions;
use crate::commands::top::TopOptions;
use crate::commands::trace::TraceOptions;
use crate::config::keys::Rotation;
use crate::config::{Config, ConfigError, Options, Port, Queues, Source};
use crate::services::dns::ZoneSource;

/// What the program was asked to do.
#[derive(Debug)]
pub struct Invocation {
    /// How often `-v` was given.
    pub verbose: u8,
    /// The command.
    pub command: Command,
}

/// A command and its validated configuration.
#[derive(Debug)]
pub enum Command {
    /// Answer on network interfaces.
    Run {
        /// What to answer with, and where.
        config: Box<Config>,
        /// Where to read that again.
        source: Box<Source>,
    },
    /// Have a running instance read its configuration, zones, files and keys again.
    Reload {
        /// Its process id; `None`: there is only one.
        pid: Option<u32>,
    },
    /// Put a new key into a key file; the current one becomes the previous.
    RotateKey {
        /// The key file.
        file: PathBuf,
        /// How.
        rotation: Rotation,
    },
    /// Answer the frames of a capture.
    Replay {
        /// The capture to read.
        input: PathBuf,
        /// The capture to write.
        output: PathBuf,
        /// What to answer with; it names no interface.
        config: Box<Config>,
    },
    /// Examine a network interface.
    Doctor(DoctorOptions),
    /// Show what passes a running instance.
    Trace(TraceOptions),
    /// Show rates of a running instance.
    Top(TopOptions),
    /// Ask a running instance something.
    Check(CheckOptions),
    /// Tell what serving a zone file would come to.
    CheckZone {
        /// The zone.
        zone: ZoneSource,
        /// Directories that it may include files from, besides its own.
        include: Vec<PathBuf>,
    },
}

/// What the doctor is to look at.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct DoctorOptions {
    /// The network interface to examine
    #[arg(short, long, value_name = "IFACE")]
    pub interface: String,
    /// The port that DNS would be served on
    #[arg(long, value_name = "PORT", default_value = "53")]
    pub dns_port: Port,
    /// The port that HTTP would be served on
    #[arg(long, value_name = "PORT", default_value = "80")]
    pub http_port: Port,
    /// The receive queues that would be served [default: all]
    #[arg(long, value_name = "LIST")]
    pub queues: Option<Queues>,
}

/// Answers DNS and HTTP over TCP from `AF_XDP` with no state per connection.
#[derive(Parser)]
#[command(name = "stateless-tcp", version, about, max_term_width = 110, propagate_version = false)]
struct Cli {
    /// Log more; twice: still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Answer on network interfaces until SIGINT or SIGTERM
    Run {
        #[command(flatten)]
        options: Box<Options>,
        /// Read options from a TOML file, with the names of the flags; flags win over it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Have a running instance read its configuration, zones, files and keys again; fails, and changes nothing, if
    /// anything is wrong with them
    Reload {
        /// The process id of the instance [default: the only one that runs]
        #[arg(long, value_name = "PID")]
        pid: Option<u32>,
    },
    /// Put a new random key into a key file; the current one becomes the previous. `reload` brings it into force
    RotateKey {
        /// The key file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Where servers share the file, first: add a new key that is accepted, and not used yet
        #[arg(long, conflicts_with = "used")]
        accept: bool,
        /// Then, when all have reloaded: use it, and accept the one used until now
        #[arg(long = "use")]
        used: bool,
    },
    /// Answer the frames of a capture (pcap or pcapng) and write what would have been sent; needs no privileges
    Replay {
        /// The capture to read
        #[arg(value_name = "IN.pcap")]
        input: PathBuf,
        /// The capture to write
        #[arg(value_name = "OUT.pcap")]
        output: PathBuf,
        #[command(flatten)]
        options: Box<Options>,
        /// Read options from a TOML file, with the names of the flags; flags win over it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Tell whether an interface will serve, what will change for it, and the command to use
    Doctor(DoctorOptions),
    /// Show what passes a running instance, as it happens: both directions, sequence numbers counted from the beginning
    Trace(TraceOptions),
    /// Show rates of a running instance in the terminal: by rule, reason, queue, name and client
    Top(TopOptions),
    /// Tell what serving a zone file would come to: what is wrong with it, what would be ignored; exit status 0 or 1
    #[command(override_usage = "stateless-tcp check-zone [OPTIONS] [NAME] FILE")]
    CheckZone {
        /// The zone's name, where the file does not say it, and the zone file
        #[arg(value_name = "[NAME] FILE", num_args = 1..=2, required = true)]
        zone: Vec<String>,
        /// A directory that the file may include files from, besides its own; may be repeated
        #[arg(long, value_name = "DIR")]
        zone_include_dir: Vec<PathBuf>,
    },
    /// Tell whether a running instance answers: a question goes through its XDP program and every worker; exit status 0
    /// or 1
    Check(CheckOptions),
}

/// The definition of the command line, to write manuals from.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Reads the process's own command line.
///
/// # Errors
/// See [`ConfigError`]; asking for help or the version is one too, with exit status 0.
pub fn parse() -> Result<Invocation, ConfigError> {
    parse_from(std::env::args_os())
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// As [`parse`].
pub fn parse_from<I>(arguments: I) -> Result<Invocation, ConfigError>
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let Cli { verbose, action } = Cli::try_parse_from(arguments)?;
    let command = match action {
        Action::Run { options, config } => {
            let source = Box::new(Source::new(*options, config));
            Command::Run { config: Box::new(source.read()?), source }
        }
        Action::Reload { pid } => Command::Reload { pid },
        Action::RotateKey { file, accept, used } => {
            crate::config::check_key_file("rotate-key", Some(&file))?;
            let rotation = match (accept, used) {
                (true, _) => Rotation::Accept,
                (_, true) => Rotation::Use,
                _ => Rotation::AtOnce,
            };
            Command::RotateKey { file, rotation }
        }
        Action::Replay { input, output, options, config } => {
            let config = options.over_file(config.as_deref())?.for_replay()?;
            Command::Replay { input, output, config: Box::new(config) }
        }
        Action::Doctor(options) => {
            crate::config::check_ports(options.dns_port, options.http_port)?;
            crate::config::check_interface(&options.interface)?;
            Command::Doctor(options)
        }
        Action::Trace(options) => Command::Trace(options),
        Action::Top(options) => Command::Top(options),
        Action::Check(options) => Command::Check(options),
        Action::CheckZone { mut zone, zone_include_dir } => {
            let file = zone.pop().unwrap_or_default().into();
            let name = zone
                .pop()
                .map(|name| name.parse())
                .transpose()
                .map_err(|error: String| ConfigError::invalid(error))?;
            Command::CheckZone { zone: ZoneSource { name, file }, include: zone_include_dir }
        }
    };
    Ok(Invocation { verbose, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn doctor_has_the_ports_and_queues() {
        let invocation =
            parse_from(["stateless-tcp", "doctor", "-vv", "-i", "eth0", "--queues", "1"]).unwrap();
        assert_eq!(invocation.verbose, 2);
        let Command::Doctor(options) = invocation.command else { panic!("another command") };
        assert_eq!((options.dns_port.get(), options.http_port.get()), (53, 80));
        assert_eq!(options.queues.unwrap().get(), [1]);
    }
}
