//! Offsets of header fields, in bytes from the beginning of their header, and the fixed values beside them: the one table
//! of each protocol, for XDP programs and user space alike.

/// Ethernet (IEEE 802.3), with VLAN tags (IEEE 802.1Q).
pub mod ethernet {
    /// Destination address, 6 bytes.
    pub const DESTINATION: usize = 0;
    /// Source address, 6 bytes.
    pub const SOURCE: usize = 6;
    /// Bit of an address's first byte: it is that of a group.
    pub const GROUP: u8 = 1;
    /// Type, 2 bytes; behind each VLAN tag there is another one.
    pub const TYPE: usize = 12;
    /// Bytes of a header without tags.
    pub const HEADER: usize = 14;
    /// Bytes of a VLAN tag.
    pub const TAG: usize = 4;
    /// Type of IPv4.
    pub const IPV4: u16 = 0x0800;
    /// Type of IPv6.
    pub const IPV6: u16 = 0x86dd;

    /// Whether a VLAN tag has this type: 802.1Q or 802.1ad.
    #[inline]
    #[must_use]
    pub const fn is_vlan_tag(ethertype: u16) -> bool {
        matches!(ethertype, 0x8100 | 0x88a8)
    }
}

/// IPv4 (RFC 791 section 3.1).
pub mod ipv4 {
    /// Version and header length, 1 byte.
    pub const VERSION_IHL: usize = 0;
    /// Total length, 2 bytes.
    pub const TOTAL_LENGTH: usize = 2;
    /// Identification, 2 bytes.
    pub const IDENTIFICATION: usize = 4;
    /// Flags and fragment offset, 2 bytes.
    pub const FRAGMENT: usize = 6;
    /// Time to live, 1 byte.
    pub const TIME_TO_LIVE: usize = 8;
    /// Protocol, 1 byte.
    pub const PROTOCOL: usize = 9;
    /// Header checksum, 2 bytes.
    pub const CHECKSUM: usize = 10;
    /// Source address, 4 bytes.
    pub const SOURCE: usize = 12;
    /// Destination address, 4 bytes.
    pub const DESTINATION: usize = 16;
    /// Bytes of a header without options.
    pub const HEADER: usize = 20;
    /// Version and header length of a header without options.
    pub const VERSION_4_IHL_5: u8 = 0x45;
}

/// IPv6 (RFC 8200 section 3).
pub mod ipv6 {
    /// Version, in the high half of 1 byte.
    pub const VERSION: usize = 0;
    /// Payload length, 2 bytes.
    pub const PAYLOAD_LENGTH: usize = 4;
    /// Next header, 1 byte.
    pub const NEXT_HEADER: usize = 6;
    /// Hop limit, 1 byte.
    pub const HOP_LIMIT: usize = 7;
    /// Source address, 16 bytes.
    pub const SOURCE: usize = 8;
    /// Destination address, 16 bytes.
    pub const DESTINATION: usize = 24;
    /// Bytes of the header.
    pub const HEADER: usize = 40;
    /// Bytes of a fragment header (RFC 8200 section 4.5).
    pub const FRAGMENT_HEADER: usize = 8;
    /// The first byte of a header that we send.
    pub const VERSION_6: u8 = 0x60;

    /// Extension headers (RFC 8200 section 4).
    pub mod extension {
        /// Type of the fragment header (RFC 8200 section 4.5).
        pub const FRAGMENT: u8 = 44;
        /// Type of the authentication header (RFC 4302). It states its length in units of 4 bytes, less 2.
        pub const AUTHENTICATION: u8 = 51;
        /// Types of the headers that state their length in units of 8 bytes, less 1: hop-by-hop options, routing, destination
        /// options, mobility, HIP, shim6.
        pub const OTHERS: [u8; 6] = [0, 43, 60, 135, 139, 140];
    }
}

/// TCP (RFC 9293 section 3.1).
pub mod tcp {
    /// Source port, 2 bytes.
    pub const SOURCE: usize = 0;
    /// Destination port, 2 bytes.
    pub const DESTINATION: usize = 2;
    /// Sequence number, 4 bytes.
    pub const SEQ: usize = 4;
    /// Acknowledgment number, 4 bytes.
    pub const ACK: usize = 8;
    /// Data offset, in the high half of 1 byte.
    pub const DATA_OFFSET: usize = 12;
    /// Control bits, 1 byte.
    pub const FLAGS: usize = 13;
    /// Window, 2 bytes.
    pub const WINDOW: usize = 14;
    /// Checksum, 2 bytes.
    pub const CHECKSUM: usize = 16;
    /// Urgent pointer, 2 bytes.
    pub const URGENT: usize = 18;
    /// Bytes of a header without options.
    pub const HEADER: usize = 20;
}

/// UDP (RFC 768).
pub mod udp {
    /// Source port, 2 bytes.
    pub const SOURCE: usize = 0;
    /// Destination port, 2 bytes.
    pub const DESTINATION: usize = 2;
    /// Length, header included, 2 bytes.
    pub const LENGTH: usize = 4;
    /// Checksum, 2 bytes; 0 if there is none.
    pub const CHECKSUM: usize = 6;
    /// Bytes of the header.
    pub const HEADER: usize = 8;
}

/// Time to live, or hop limit, of our datagrams.
pub const HOPS: u8 = 64;
