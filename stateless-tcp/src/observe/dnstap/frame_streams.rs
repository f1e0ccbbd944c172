//! Frame Streams, bidirectional as in `fstrm`: the writer offers a content type (READY), the reader accepts it (ACCEPT), and
//! the writer begins (START). At the end the writer sends STOP, and the reader answers FINISH.
//!
//! ```text
//! length (4 bytes) | data
//! 0 (4) | length of the rest (4) | type (4) | fields: 1 (4) | length (4) | content type
//! ```
//!
//! Numbers are in network byte order.

use std::io::{self, ErrorKind, Read};

/// Largest control frame in bytes, as in `fstrm`.
const MAX_CONTROL_FRAME: usize = 512;

/// Type of the content type field, the only one.
const CONTENT_TYPE: u32 = 1;

/// A control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlFrame {
    Accept = 1,
    Start = 2,
    Stop = 3,
    Ready = 4,
    Finish = 5,
}

impl ControlFrame {
    /// The frame's bytes, with a content type if there is one.
    pub(super) fn encode(self, content_type: Option<&[u8]>) -> Vec<u8> {
        let mut body = (self as u32).to_be_bytes().to_vec();
        if let Some(content_type) = content_type {
            body.extend(CONTENT_TYPE.to_be_bytes());
            append(&mut body, content_type);
        }
        let mut frame = vec![0; 4];
        append(&mut frame, &body);
        frame
    }

    /// Reads such a frame with this content type.
    ///
    /// # Errors
    /// Another frame came, or none.
    pub(super) fn expect(self, from: &mut impl Read, content_type: Option<&[u8]>) -> io::Result<()> {
        let mut head = [0; 8];
        from.read_exact(&mut head)?;
        let [escape @ .., a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let mut body = vec![0; length.min(MAX_CONTROL_FRAME)];
        from.read_exact(&mut body)?;
        let whole = escape == [0; 4] && length <= MAX_CONTROL_FRAME;
        if !whole || !self.matches(&body, content_type) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("the reader did not answer with {self:?}"),
            ));
        }
        Ok(())
    }

    fn matches(self, body: &[u8], content_type: Option<&[u8]>) -> bool {
        let Some((kind, mut fields)) = body.split_first_chunk() else { return false };
        // A reader that accepts every content type names none.
        let mut wanted = fields.is_empty();
        while let Some((field, rest)) = fields.split_first_chunk() {
            let Some((length, rest)) = rest.split_first_chunk() else { return false };
            let Some((content, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                return false;
            };
            wanted |= u32::from_be_bytes(*field) == CONTENT_TYPE && content_type == Some(content);
            fields = rest;
        }
        u32::from_be_bytes(*kind) == self as u32 && wanted && fields.is_empty()
    }
}

/// Appends `data` behind its length.
pub(super) fn append(out: &mut Vec<u8>, data: &[u8]) {
    // A dnstap event is not much larger than a DNS message.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    out.extend(length.to_be_bytes());
    out.extend(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn control_frames_are_encoded_as_in_fstrm() {
        let ready = b"\0\0\0\0\0\0\0\x0f\0\0\0\x04\0\0\0\x01\0\0\0\x03a:b";
        assert_eq!(ControlFrame::Ready.encode(Some(b"a:b")), ready);
        assert_eq!(ControlFrame::Stop.encode(None), b"\0\0\0\0\0\0\0\x04\0\0\0\x03");
        let mut data = Vec::new();
        append(&mut data, b"four");
        assert_eq!(data, b"\0\0\0\x04four");
    }

    #[rstest]
    #[case::good(b"\0\0\0\0\0\0\0\x0f\0\0\0\x01\0\0\0\x01\0\0\0\x03a:b", true)]
    #[case::one_of_two(b"\0\0\0\0\0\0\0\x19\0\0\0\x01\0\0\0\x01\0\0\0\x02a:\0\0\0\x01\0\0\0\x03a:b", true)]
    #[case::takes_everything(b"\0\0\0\0\0\0\0\x04\0\0\0\x01", true)]
    #[case::other_content(b"\0\0\0\0\0\0\0\x0f\0\0\0\x01\0\0\0\x01\0\0\0\x03a:c", false)]
    #[case::other_control(b"\0\0\0\0\0\0\0\x0f\0\0\0\x05\0\0\0\x01\0\0\0\x03a:b", false)]
    #[case::no_control(b"\0\0\0\x04\0\0\0\x04\0\0\0\x01", false)]
    #[case::field_too_long(b"\0\0\0\0\0\0\0\x0f\0\0\0\x01\0\0\0\x01\0\0\0\x04a:b", false)]
    #[case::too_long(b"\0\0\0\0\0\0\x02\x01\0\0\0\x01", false)]
    #[case::cut_off(b"\0\0\0\0\0\0\0\x0f\0\0\0\x01", false)]
    fn an_answer_is_the_expected_one_or_an_error(#[case] bytes: &[u8], #[case] good: bool) {
        assert_eq!(ControlFrame::Accept.expect(&mut &bytes[..], Some(b"a:b")).is_ok(), good);
    }
}
