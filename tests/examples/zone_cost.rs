//! What loading zones takes: time and memory.

use stateless_tcp::service::dns::{Dns, DnsOptions};
fn main() {
    for file in std::env::args().skip(1) {
        let begin = std::time::Instant::now();
        let dns = Dns::load(&[std::path::PathBuf::from(&file).into()], &DnsOptions::default());
        let took = begin.elapsed();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let rss: Vec<&str> =
            status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")).collect();
        println!("{file}: {took:?} {rss:?} {:?}", dns.err());
    }
}
