//! The command line. The options of `run` are in [`config`](crate::config).

use crate::commands::check::CheckOptions;
use crate::commands::top::TopOptions;
use crate::commands::trace::TraceOptions;
use crate::config::keys::Rotation;
use crate::config::{Config, ConfigError, ConfigSource, RunOptions, check_key_file};
use crate::services::dns::ZoneSource;
use clap::{ArgAction, CommandFactory as _, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// A parsed command line.
#[derive(Debug)]
pub struct Invocation {
    /// Number of `-v` flags.
    pub verbose: u8,
    /// The command.
    pub command: Command,
}

/// A command and its validated configuration.
#[derive(Debug)]
pub enum Command {
    /// Serve on network interfaces.
    Run {
        /// The configuration.
        config: Box<Config>,
        /// The source to reload it from.
        source: Box<ConfigSource>,
    },
    /// Reload a running instance.
    Reload {
        /// Its process ID; `None`: the only one.
        pid: Option<u32>,
    },
    /// Rotate the keys of a key file.
    RotateKey {
        /// The key file.
        file: PathBuf,
        /// The kind of rotation.
        rotation: Rotation,
    },
    /// Answer the frames of a capture.
    Replay {
        /// The capture to read.
        input: PathBuf,
        /// The capture to write.
        output: PathBuf,
        /// The configuration, without interfaces.
        config: Box<Config>,
    },
    /// Examine a network interface.
    Doctor {
        /// The configuration, with one interface.
        config: Box<Config>,
        /// The arguments, which are also those of `run`.
        arguments: Vec<String>,
    },
    /// Trace the frames of a running instance.
    Trace(TraceOptions),
    /// Show rates of a running instance.
    Top(TopOptions),
    /// Check the health of a running instance.
    Check(CheckOptions),
    /// Check a zone file.
    CheckZone {
        /// The zone.
        zone: ZoneSource,
        /// Directories for its included files, besides its own.
        include: Vec<PathBuf>,
    },
}

/// Answer DNS and HTTP over TCP from `AF_XDP` with no state per connection
#[derive(Parser)]
#[command(name = "stateless-tcp", version, about, max_term_width = 110, propagate_version = false)]
struct Cli {
    /// Log more; may be repeated
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    action: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Serve on network interfaces until SIGINT or SIGTERM
    Run {
        #[command(flatten)]
        options: Box<RunOptions>,
        /// Read options from a TOML file, with the names of the flags; flags override it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Make a running instance read its configuration, zones, files and keys again; fails, and changes nothing, if any of them
    /// is invalid
    Reload {
        /// The process ID of the instance [default: the only one that runs]
        #[arg(long, value_name = "PID")]
        pid: Option<u32>,
    },
    /// Put a new random key into a key file; the current key becomes the previous. `reload` activates it
    RotateKey {
        /// Key file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// First step for servers that share the file: add a new key that is accepted, but not used yet
        #[arg(long, conflicts_with = "used")]
        accept: bool,
        /// Second step, after all have reloaded: use the new key, and accept the one used until now
        #[arg(long = "use")]
        used: bool,
    },
    /// Answer the frames of a capture (pcap or pcapng) and write the answers; needs no privileges
    Replay {
        /// Capture to read
        #[arg(value_name = "IN.pcap")]
        input: PathBuf,
        /// Capture to write
        #[arg(value_name = "OUT.pcap")]
        output: PathBuf,
        #[command(flatten)]
        options: Box<RunOptions>,
        /// Read options from a TOML file, with the names of the flags; flags override it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Predict if an interface will serve, and print the effects and the command to use
    Doctor {
        #[command(flatten)]
        options: Box<RunOptions>,
        /// Read options from a TOML file, with the names of the flags; flags override it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Show the frames of a running instance as they pass, in both directions, with relative sequence numbers
    Trace(TraceOptions),
    /// Show rates of a running instance in the terminal, by rule, reason, queue, name and client
    Top(TopOptions),
    /// Check a zone file: print its errors, and the records that would be ignored; exit status 0 or 1
    #[command(override_usage = "stateless-tcp check-zone [OPTIONS] [NAME] FILE")]
    CheckZone {
        /// The zone's name, if the file does not contain it, and the zone file
        #[arg(value_name = "[NAME] FILE", num_args = 1..=2, required = true)]
        zone: Vec<String>,
        /// Directory that the file may include files from, besides its own; may be repeated
        #[arg(long, value_name = "DIR")]
        zone_include_dir: Vec<PathBuf>,
    },
    /// Check that a running instance answers: a query goes through its XDP program and every worker; exit status 0 or 1
    Check(CheckOptions),
}

/// The definition of the command line, for manuals and completions.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Parses the command line of this process.
///
/// # Errors
/// See [`ConfigError`]. A request for help or the version is one, too, with exit status 0.
pub fn parse() -> Result<Invocation, ConfigError> {
    parse_from(std::env::args_os())
}

/// Parses a command line, which begins with the program's name.
///
/// # Errors
/// As [`parse`].
pub fn parse_from<I>(arguments: I) -> Result<Invocation, ConfigError>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let Cli { verbose, action } = Cli::try_parse_from(&arguments)?;
    let command = match action {
        Subcommands::Run { options, config } => {
            let source = Box::new(ConfigSource::new(*options, config));
            Command::Run { config: Box::new(source.read()?), source }
        }
        Subcommands::Reload { pid } => Command::Reload { pid },
        Subcommands::RotateKey { file, accept, used } => {
            check_key_file("rotate-key", Some(&file))?;
            let rotation = match (accept, used) {
                (true, _) => Rotation::Accept,
                (_, true) => Rotation::Use,
                _ => Rotation::AtOnce,
            };
            Command::RotateKey { file, rotation }
        }
        Subcommands::Replay { input, output, options, config } => {
            let config = options.with_file(config.as_deref())?.for_replay()?;
            Command::Replay { input, output, config: Box::new(config) }
        }
        Subcommands::Doctor { options, config } => {
            let config = options.with_file(config.as_deref())?.for_doctor()?;
            Command::Doctor { config: Box::new(config), arguments: following("doctor", &arguments) }
        }
        Subcommands::Trace(options) => Command::Trace(options),
        Subcommands::Top(options) => Command::Top(options),
        Subcommands::Check(options) => Command::Check(options),
        Subcommands::CheckZone { mut zone, zone_include_dir } => {
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

/// The arguments behind the name of a command.
fn following(command: &str, arguments: &[OsString]) -> Vec<String> {
    let behind = arguments.iter().skip_while(|&argument| argument != command).skip(1);
    behind.map(|argument| argument.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn the_definition_is_valid() {
        definition().debug_assert();
    }

    /// With the services that `run` would have by the same options.
    #[rstest]
    #[case::all("", &[53, 80])]
    #[case::zones("--zone a.zone --dns-port 5353", &[5353])]
    #[case::files("--http-root www", &[80])]
    fn doctor_takes_the_options_of_run(#[case] options: &str, #[case] ports: &[u16]) {
        let words = "stateless-tcp doctor -vv -i eth0 --queues 1".split(' ');
        let invocation = parse_from(words.chain(options.split_whitespace())).unwrap();
        assert_eq!(invocation.verbose, 2);
        let Command::Doctor { config, arguments } = invocation.command else { panic!("another command") };
        let served: Vec<u16> = config.services.ports().iter().map(|service| service.port).collect();
        assert_eq!((&served[..], config.queues), (ports, Some(vec![1])));
        assert_eq!(arguments.join(" "), format!("-vv -i eth0 --queues 1 {options}").trim_end());
    }

    #[rstest]
    #[case::none("doctor", "give -i IFACE")]
    #[case::two("doctor -i eth0 -i eth1", "one at a time")]
    fn doctor_examines_one_interface(#[case] words: &str, #[case] message: &str) {
        let error = parse_from(["stateless-tcp"].into_iter().chain(words.split(' '))).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}
