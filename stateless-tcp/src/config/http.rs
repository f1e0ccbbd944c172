//! Options of HTTP: what may be said of files and of the relay, and what follows from it.

use super::count::Count;
use super::relay::means_nothing_without;
use super::values::BadValue;
use super::{ConfigError, Options};
use crate::services::http::{FileOptions, HttpRelayOptions};
use serde::Deserialize;
use std::str::FromStr;
use std::time::Duration;

type Milliseconds = Count<10, 300_000>;
type InFlight = Count<1, 65_536>;
type StoreSize = Count<1, 65_536>;

const TIMEOUT: u32 = 10_000;
const IN_FLIGHT: u32 = 1_024;
const STORE: u32 = 256;

/// The table `[http]` of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Table {
    timeout_ms: Option<Milliseconds>,
    in_flight: Option<InFlight>,
    store_mib: Option<StoreSize>,
}

/// The value of a Cache-Control field.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CacheControl(String);

/// Most octets of one: it goes out with every file.
const CACHE_CONTROL: usize = 200;

impl FromStr for CacheControl {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let text = text.trim();
        if text.is_empty() || text.len() > CACHE_CONTROL {
            return Err(BadValue::new(format!(
                "a text of 1 to {CACHE_CONTROL} bytes is needed, as in max-age=3600"
            )));
        }
        // RFC 9110 5.5, without what has long been obsolete.
        if !text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            return Err(BadValue::new("a header field can hold printable ASCII only".to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for CacheControl {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        text.parse()
    }
}

impl Options {
    /// How files are served, if they are.
    pub(super) fn serve_files(&self) -> Result<FileOptions, ConfigError> {
        let said = [
            (self.http_cache_control.is_some(), "--http-cache-control"),
            (self.http_dot_files, "--http-dot-files"),
        ];
        if let Some((_, name)) = said.iter().find(|(said, _)| *said && self.http_root.is_none()) {
            return Err(ConfigError::invalid(format!(
                "{name} means nothing without --http-root: leave it out, or name a directory to serve"
            )));
        }
        let cache_control = self.http_cache_control.clone().map(|CacheControl(text)| text);
        Ok(FileOptions { cache_control, dot_files: self.http_dot_files })
    }

    /// How requests are relayed, if they are.
    pub(super) fn relay_http(&self) -> Result<Option<HttpRelayOptions>, ConfigError> {
        let Some(upstream) = self.http_relay else {
            let said = [
                (self.http_unsafe_methods, "--http-unsafe-methods"),
                (self.http != Table::default(), "[http]"),
            ];
            return means_nothing_without("--http-relay", &said).map(|()| None);
        };
        if self.http_root.is_some() {
            return Err(ConfigError::invalid(
                "--http-relay and --http-root cannot both be had: requests are answered by a server or from files; leave \
                 out one of them",
            ));
        }
        let table = &self.http;
        Ok(Some(HttpRelayOptions {
            upstream: upstream.get(),
            unsafe_methods: self.http_unsafe_methods,
            timeout: Duration::from_millis(table.timeout_ms.map_or(TIMEOUT, Count::get).into()),
            in_flight: table.in_flight.map_or(IN_FLIGHT, Count::get) as usize,
            retransmit_store: (table.store_mib.map_or(STORE, Count::get) as usize) << 20,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::cli::{self, Command};
    use rstest::rstest;

    /// What is relayed by these flags, and a file with `text`.
    fn relay(flags: &str, text: &str) -> Result<Option<HttpRelayOptions>, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.toml");
        std::fs::write(&path, text).unwrap();
        let words = ["stateless-tcp", "run", "-i", "eth0", "--config", path.to_str().unwrap()];
        match cli::parse_from(words.into_iter().chain(flags.split_whitespace()))?.command {
            Command::Run { config, .. } => Ok(config.http_relay),
            other => panic!("another command: {other:?}"),
        }
    }

    #[test]
    fn flags_and_file_say_what_is_relayed() {
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
    #[case::files_too("--http-relay 127.0.0.1:80 --http-root www", "", "cannot both be had")]
    #[case::files_in_the_file("--http-relay 127.0.0.1:80", "http-root = 'www'", "cannot both be had")]
    #[case::no_port("--http-relay 127.0.0.1", "", "write it as in 127.0.0.1:8080")]
    #[case::no_time("", "http-relay = '[::1]:80'\n[http]\ntimeout-ms = 9", "9 is not from 10 to 300000")]
    #[case::none_in_flight("", "http-relay = '[::1]:80'\n[http]\nin-flight = 0", "0 is not from 1 to 65536")]
    #[case::no_store("", "http-relay = '[::1]:80'\n[http]\nstore-mib = -1", "-1 is not from 1 to 65536")]
    #[case::unsafe_of_nothing("--http-unsafe-methods", "", "--http-unsafe-methods means nothing without")]
    #[case::table_of_nothing("", "[http]\nin-flight = 1", "[http] means nothing without --http-relay")]
    fn bad_usage_is_refused(#[case] flags: &str, #[case] text: &str, #[case] says: &str) {
        let error = relay(flags, text).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.exit_status(), 2);
    }

    #[test]
    fn a_capture_is_answered_without_asking_anybody() {
        let words = ["stateless-tcp", "replay", "a.pcap", "b.pcap", "--http-relay", "127.0.0.1:80"];
        let error = cli::parse_from(words).unwrap_err();
        assert!(error.to_string().contains("replay asks no server"), "{error}");
    }
}
