//! The content, as files that change.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use stateless_tcp_tests::{netns::text, responder::binary};

/// A zone, a key file and a configuration file in a directory of their own.
pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub(super) fn new() -> Self {
        let files = Self(tempfile::tempdir().expect("a temporary directory"));
        files.write_zone(0);
        files
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("a path").to_owned()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        // As an editor would: a reader sees the old file or the new one.
        let new = PathBuf::from(self.path("new"));
        fs::write(&new, text).expect("write a file");
        fs::rename(new, self.path(name)).expect("rename a file");
    }

    /// Version `number` of the zone: a small answer and one of six segments, in both of which the number shows.
    pub(super) fn write_zone(&self, number: u8) {
        let letter = letter(number).to_string().repeat(250);
        let texts = format!("\"{letter}\" ").repeat(26);
        self.write(
            "zone",
            &format!(
                "$ORIGIN example.org.\n$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n\
                 small A 192.0.2.{}\nlarge TXT {texts}\n",
                100 + number
            ),
        );
    }

    pub(super) fn rotate(&self) {
        let output = stateless_tcp(&["rotate-key", &self.path("key")]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

pub(super) fn letter(number: u8) -> char {
    char::from(b'a' + number)
}

pub(super) fn stateless_tcp(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().expect("run the binary")
}
