//! Options of HTTP: of files and of the relay.

use super::check::{excludes, requires};
use super::values::{InvalidValue, deserialize_from_text};
use super::{Bounded, ConfigError, RunOptions};
use crate::services::http::{FileOptions, HttpRelayOptions};
use serde::Deserialize;
use std::str::FromStr;
use std::time::Duration;

const TIMEOUT: u32 = 10_000;
const IN_FLIGHT: u32 = 1_024;
const STORE: u32 = 256;

/// The table `[http]` of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct HttpTable {
    timeout_ms: Option<Bounded<10, 300_000>>,
    in_flight: Option<Bounded<1, 65_536>>,
    store_mib: Option<Bounded<1, 65_536>>,
}

/// The value of a Cache-Control field.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CacheControl(String);

/// Largest value in bytes, as every response contains it.
const MAX_CACHE_CONTROL: usize = 200;

impl FromStr for CacheControl {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_CACHE_CONTROL {
            return Err(InvalidValue::new(format!(
                "write 1 to {MAX_CACHE_CONTROL} bytes, as in max-age=3600"
            )));
        }
        // RFC 9110 section 5.5, without the obsolete bytes.
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(InvalidValue::new("a header field contains printable ASCII only".to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

deserialize_from_text!(CacheControl);

impl RunOptions {
    /// The options of files.
    pub(super) fn serve_files(&self) -> Result<FileOptions, ConfigError> {
        if self.http_root.is_none() {
            let given = [
                (self.http_cache_control.is_some(), "--http-cache-control"),
                (self.http_dot_files, "--http-dot-files"),
            ];
            requires("--http-root", &given)?;
        }
        let cache_control = self.http_cache_control.clone().map(|CacheControl(text)| text);
        Ok(FileOptions { cache_control, dot_files: self.http_dot_files })
    }

    /// The relay's options, if there is one.
    pub(super) fn relay_http(&self) -> Result<Option<HttpRelayOptions>, ConfigError> {
        let Some(upstream) = self.http_relay else {
            let given = [
                (self.http_unsafe_methods, "--http-unsafe-methods"),
                (self.http != HttpTable::default(), "[http]"),
            ];
            return requires("--http-relay", &given).map(|()| None);
        };
        let both = self.http_root.is_some();
        excludes(both, "--http-relay", "--http-root", "requests are answered by an upstream, or from files")?;
        let table = &self.http;
        Ok(Some(HttpRelayOptions {
            upstream: upstream.get(),
            unsafe_methods: self.http_unsafe_methods,
            timeout: Duration::from_millis(table.timeout_ms.map_or(TIMEOUT, Bounded::get).into()),
            in_flight: table.in_flight.map_or(IN_FLIGHT, Bounded::get) as usize,
            retransmit_store: (table.store_mib.map_or(STORE, Bounded::get) as usize) << 20,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::cli::{self, Command};
    use crate::config::HttpContent;
    use rstest::rstest;

    /// The relay's options by these flags and a file with `text`.
    fn relay(flags: &str, text: &str) -> Result<Option<HttpRelayOptions>, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.toml");
        std::fs::write(&path, text).unwrap();
        let words = ["stateless-tcp", "run", "-i", "eth0", "--config", path.to_str().unwrap()];
        match cli::parse_from(words.into_iter().chain(flags.split_whitespace()))?.command {
            Command::Run { config, .. } => Ok(match config.services.http.map(|http| http.content) {
                Some(HttpContent::Relay(relay)) => Some(relay),
                _ => None,
            }),
            other => panic!("another command: {other:?}"),
        }
    }

    #[test]
    fn flags_and_file_configure_the_relay() {
        let usual = HttpRelayOptions {
            upstream: "127.0.0.1:8080".parse().unwrap(),
            unsafe_methods: false,
            timeout: Duration::from_secs(10),
            in_flight: 1_024,
            retransmit_store: 256 << 20,
        };
        let other = HttpRelayOptions {
            upstream: "[::1]:8080".parse().unwrap(),
            unsafe_methods: true,
            timeout: Duration::from_millis(10),
            in_flight: 7,
            retransmit_store: 3 << 20,
        };
        let keys = "http-relay = '[::1]:8080'\nhttp-unsafe-methods = true\n[http]\ntimeout-ms = 10\nin-flight = 7\n\
                    store-mib = 3\n";
        assert_eq!(relay("", "").unwrap(), None);
        assert_eq!(relay("--http-relay 127.0.0.1:8080", "").unwrap(), Some(usual));
        assert_eq!(relay("", keys).unwrap(), Some(other));
        assert_eq!(
            relay("--http-relay 127.0.0.1:8080", keys).unwrap(),
            Some(HttpRelayOptions { upstream: usual.upstream, ..other })
        );
        let flags = "--http-relay [::1]:8080 --http-unsafe-methods";
        let two = HttpRelayOptions { upstream: other.upstream, unsafe_methods: true, ..usual };
        assert_eq!(relay(flags, "").unwrap(), Some(two));
    }

    #[rstest]
    #[case::files_too("--http-relay 127.0.0.1:80 --http-root www", "", "exclude each other")]
    #[case::files_in_the_file("--http-relay 127.0.0.1:80", "http-root = 'www'", "exclude each other")]
    #[case::no_port("--http-relay 127.0.0.1", "", "write it as in 127.0.0.1:8080")]
    #[case::no_time(
        "",
        "http-relay = '[::1]:80'\n[http]\ntimeout-ms = 9",
        "9 is not in the range 10 to 300000"
    )]
    #[case::none_in_flight(
        "",
        "http-relay = '[::1]:80'\n[http]\nin-flight = 0",
        "0 is not in the range 1 to 65536"
    )]
    #[case::no_store(
        "",
        "http-relay = '[::1]:80'\n[http]\nstore-mib = -1",
        "-1 is not in the range 1 to 65536"
    )]
    #[case::unsafe_of_nothing("--http-unsafe-methods", "", "--http-unsafe-methods has no effect without")]
    #[case::table_of_nothing("", "[http]\nin-flight = 1", "[http] has no effect without --http-relay")]
    fn bad_usage_is_refused(#[case] flags: &str, #[case] text: &str, #[case] message: &str) {
        let error = relay(flags, text).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.exit_status(), 2);
    }

    #[test]
    fn replay_has_no_relay() {
        let words = ["stateless-tcp", "replay", "a.pcap", "b.pcap", "--http-relay", "127.0.0.1:80"];
        let error = cli::parse_from(words).unwrap_err();
        assert!(error.to_string().contains("replay has no upstreams"), "{error}");
    }
}
