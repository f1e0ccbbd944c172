//! Counters of the DNS relay, one for each reason.

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A counter; the log and the documentation use its name.
        #[derive(Clone, Copy, Debug)]
        #[repr(usize)]
        pub(super) enum DnsCounter { $($(#[$doc])* $variant,)* }

        /// The names, in order.
        const NAMES: &[&str] = &[$($name,)*];
    };
}

counts! {
    /// Datagrams sent to upstreams.
    Queries = "dns_relay_queries",
    /// Answers of upstreams that were taken.
    Answers = "dns_relay_answers",
    /// Answers asked for again over TCP, as they did not fit a datagram.
    OverTcp = "dns_relay_over_tcp",
    /// Of these, those that did not come.
    TcpFailed = "dns_relay_tcp_failed",
    /// Queries that an upstream did not answer in time.
    TimedOut = "dns_relay_timed_out",
    /// Refusals by an upstream's host: nobody listens.
    Unreachable = "dns_relay_unreachable",
    /// Datagrams for which no query waits: late, sent twice, or forged.
    Late = "dns_relay_late",
    /// Datagrams with the ID of a query in flight that answer another question, or none.
    Forged = "dns_relay_forged",
    /// Answers that cannot be read.
    Malformed = "dns_relay_malformed",
    /// Queries that no upstream answered in time: SERVFAIL.
    Failed = "dns_relay_failed",
    /// Queries beyond the limit on queries in flight: SERVFAIL.
    TableFull = "dns_relay_table_full",
    /// Answers of several segments that the retransmission store has no space for: SERVFAIL.
    StoreFull = "dns_relay_store_full",
    /// Questions answered from the cache.
    CacheHits = "dns_cache_hits",
    /// Queries that went to an upstream.
    CacheMisses = "dns_cache_misses",
    /// Expired answers from the cache, because no upstream answers.
    CacheStale = "dns_cache_stale",
}

/// The counters of one worker.
#[derive(Debug)]
pub(super) struct DnsCounters([u64; NAMES.len()]);

impl Default for DnsCounters {
    fn default() -> Self {
        Self([0; NAMES.len()])
    }
}

impl DnsCounters {
    /// Adds one.
    pub(super) fn add(&mut self, count: DnsCounter) {
        self.0[count as usize] += 1;
    }

    /// Adds what `other` counted.
    pub(super) fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }

    /// Names and values.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.iter().copied().zip(self.0)
    }
}
