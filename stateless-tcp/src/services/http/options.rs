//! Options of the file service.

/// Options of the file service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// The Cache-Control value of every file (RFC 9111 5.2); `None`: no such field.
    pub cache_control: Option<String>,
    /// Serve files and directories whose name begins with a dot. `.well-known` in the root is served in any case.
    pub dot_files: bool,
}

impl FileOptions {
    /// The header line, or an empty string.
    pub(super) fn cache_control_field(&self) -> String {
        let line = |text| format!("Cache-Control: {text}\r\n");
        self.cache_control.as_ref().map(line).unwrap_or_default()
    }
}
