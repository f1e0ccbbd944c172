//! Options of the file service.

/// How files are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// What Cache-Control says of every file (RFC 9111 5.2); `None`: there is no such field.
    pub cache_control: Option<String>,
    /// Serve files and directories whose name begins with a dot. `.well-known` in the root is served in any case.
    pub dot_files: bool,
}

impl FileOptions {
    /// The line of a header section, if there is one.
    pub(super) fn cache_control_field(&self) -> String {
        let line = |text| format!("Cache-Control: {text}\r\n");
        self.cache_control.as_ref().map(line).unwrap_or_default()
    }
}
