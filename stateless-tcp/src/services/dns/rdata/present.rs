//! Helpers for presentation forms.

use std::fmt::{self, Write as _};

/// Appends formatted text to the first argument.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {
        $crate::services::dns::rdata::present::append(&mut *$out, format_args!($($format)*))
    };
}
pub(super) use put;

pub(super) fn append(out: &mut String, format: fmt::Arguments<'_>) {
    // A String takes all that is written to it.
    let written = out.write_fmt(format);
    debug_assert!(written.is_ok(), "what is displayed does not fail");
}

/// Appends a name given in checked wire form, ending with a dot.
pub(in super::super) fn escape_name(wire: &[u8], out: &mut String) {
    let mut rest = wire;
    if rest == [0] {
        out.push('.');
    }
    while let Some((&label, behind)) = rest.split_first()
        && label > 0
    {
        let (label, behind) = behind.split_at(usize::from(label).min(behind.len()));
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                    out.push('\\');
                    out.push(byte.into());
                }
                b'!'..=b'~' => out.push(byte.into()),
                _ => put!(out, "\\{byte:03}"),
            }
        }
        out.push('.');
        rest = behind;
    }
}

/// Appends a string in quotes.
pub(super) fn quote(bytes: &[u8], out: &mut String) {
    out.push('"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => {
                out.push('\\');
                out.push(byte.into());
            }
            b' '..=b'~' => out.push(byte.into()),
            _ => put!(out, "\\{byte:03}"),
        }
    }
    out.push('"');
}

/// Appends data as RFC 3597 section 5 writes it.
pub(super) fn opaque(rdata: &[u8], out: &mut String) {
    put!(out, "\\# {}", rdata.len());
    if !rdata.is_empty() {
        out.push(' ');
        data_encoding::HEXUPPER.encode_append(rdata, out);
    }
}
