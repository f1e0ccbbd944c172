//! What is counted of relayed questions, one counter a reason.

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What is counted; each has a name, in the log and in the documentation.
        #[derive(Clone, Copy, Debug)]
        #[repr(usize)]
        pub(super) enum DnsRelayCounter { $($(#[$doc])* $variant,)* }

        /// The names, in order.
        const NAMES: &[&str] = &[$($name,)*];
    };
}

counts! {
    /// Datagrams sent to back ends.
    Queries = "dns_relay_queries",
    /// Answers of back ends that were taken.
    Answers = "dns_relay_answers",
    /// Answers asked for again over TCP, as they did not fit a datagram.
    OverTcp = "dns_relay_over_tcp",
    /// Of these, those that did not come.
    TcpFailed = "dns_relay_tcp_failed",
    /// Queries that a back end did not answer in time.
    TimedOut = "dns_relay_timed_out",
    /// Times that a back end's host said that nobody listens.
    Unreachable = "dns_relay_unreachable",
    /// Datagrams for which no query waits: late, sent twice, or forged.
    Late = "dns_relay_late",
    /// Datagrams that a query waits for, but that answer another question, or none.
    Forged = "dns_relay_forged",
    /// Answers that cannot be read.
    Malformed = "dns_relay_malformed",
    /// Questions that no back end answered in time: SERVFAIL.
    Failed = "dns_relay_failed",
    /// Questions for which there was no room in flight: SERVFAIL.
    TableFull = "dns_relay_table_full",
    /// Answers of several segments for which there was no room to keep them: SERVFAIL.
    StoreFull = "dns_relay_store_full",
    /// Questions answered from the cache.
    CacheHits = "dns_cache_hits",
    /// Questions that had to be asked.
    CacheMisses = "dns_cache_misses",
    /// Questions answered from the cache although their time is over, as no back end answers.
    CacheStale = "dns_cache_stale",
}

/// The counters of one worker.
#[derive(Debug)]
pub(super) struct DnsRelayCounters([u64; NAMES.len()]);

impl Default for DnsRelayCounters {
    fn default() -> Self {
        Self([0; NAMES.len()])
    }
}

impl DnsRelayCounters {
    /// Adds one.
    pub(super) fn add(&mut self, count: DnsRelayCounter) {
        self.0[count as usize] += 1;
    }

    /// Adds what `other` counted.
    pub(super) fn include(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }

    /// Names and values.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.iter().copied().zip(self.0)
    }
}
