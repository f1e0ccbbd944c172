//! The command line. [`config`](crate::config) gives its options their meaning.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, CommandFactory as _, Parser, Subcommand};

use crate::commands::check::CheckOptions;
use crate::commands::top::TopOptions;
use crate::commands::trace::TraceOptions;
use crate::config::keys::Rotation;
use crate::config::{Config, ConfigError, Options, Port, Queues, Source};
use crate::services::dns::ZoneSource;

/// A parsed command line.
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
        /// The content, and the place to serve it.
        config: Box<Config>,
        /// The source of the configuration, for a reload.
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
        /// The content; it names no interface.
        config: Box<Config>,
    },
    /// Examine a network interface.
    Doctor(DoctorOptions),
    /// Show the frames that pass a running instance.
    Trace(TraceOptions),
    /// Show rates of a running instance.
    Top(TopOptions),
    /// Check that a running instance answers.
    Check(CheckOptions),
    /// Check a zone file.
    CheckZone {
        /// The zone.
        zone: ZoneSource,
        /// Directories that it may include files from, besides its own.
        include: Vec<PathBuf>,
    },
}

/// The subject of the doctor.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct DoctorOptions {
    /// Network interface to examine
    #[arg(short, long, value_name = "IFACE")]
    pub interface: String,
    /// Port that DNS would be served on
    #[arg(long, value_name = "PORT", default_value = "53")]
    pub dns_port: Port,
    /// Port that HTTP would be served on
    #[arg(long, value_name = "PORT", default_value = "80")]
    pub http_port: Port,
    /// Receive queues that would be served [default: all]
    #[arg(long, value_name = "LIST")]
    pub queues: Option<Queues>,
}

/// Answer DNS and HTTP over TCP from `AF_XDP` with no state per connection
#[derive(Parser)]
#[command(name = "stateless-tcp", version, about, max_term_width = 110, propagate_version = false)]
struct Cli {
    /// Log at level debug; twice: log everything
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
        /// TOML file with options, named like the flags; flags override it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Make a running instance read its configuration, zones, files and keys again; a broken zone keeps its old content,
    /// and any other error changes nothing
    Reload {
        /// Process id of the instance [default: the only one that runs]
        #[arg(long, value_name = "PID")]
        pid: Option<u32>,
    },
    /// Put a new random key into a key file; the current key becomes the previous one, and `reload` activates both
    RotateKey {
        /// Key file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// For servers that share the file, first: add a new key that is accepted but not used yet
        #[arg(long, conflicts_with = "used")]
        accept: bool,
        /// Then, after all have reloaded: use that key, and accept the one used until now
        #[arg(long = "use")]
        used: bool,
    },
    /// Answer the frames of a capture (pcap or pcapng) and write the frames that would be sent; needs no privileges
    Replay {
        /// Capture to read
        #[arg(value_name = "IN.pcap")]
        input: PathBuf,
        /// Capture to write
        #[arg(value_name = "OUT.pcap")]
        output: PathBuf,
        #[command(flatten)]
        options: Box<Options>,
        /// TOML file with options, named like the flags; flags override it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Report whether an interface will serve, the changes that serving makes to it, and the command to use
    Doctor(DoctorOptions),
    /// Show the frames that pass a running instance, in both directions, with relative sequence numbers
    Trace(TraceOptions),
    /// Show rates of a running instance in the terminal: by rule, reason, queue, name and client
    Top(TopOptions),
    /// Check a zone file and report its errors and the records that would be ignored; exit status 0 or 1
    #[command(override_usage = "stateless-tcp check-zone [OPTIONS] [NAME] FILE")]
    CheckZone {
        /// Name of the zone, if the file does not say it, and the zone file
        #[arg(value_name = "[NAME] FILE", num_args = 1..=2, required = true)]
        zone: Vec<String>,
        /// Directory that the file may include files from, besides its own; may be repeated
        #[arg(long, value_name = "DIR")]
        zone_include_dir: Vec<PathBuf>,
    },
    /// Check that a running instance answers, with a query through its XDP program and every worker; exit status 0 or 1
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
