//! Reading zone files of a million names, records handed to a sink that counts them: `cargo bench -p stateless-tcp --bench
//! zonefile`.

use std::fmt::Write as _;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stateless_tcp::services::dns::count_records;

const NAMES: u64 = 1_000_000;
const HEAD: &str = "$ORIGIN example.\n$TTL 3600\n@ SOA ns hostmaster 1 7200 3600 1209600 3600\n@ NS ns\n";

/// A zone file with `entry` for each name.
fn zone(entry: impl Fn(&mut String, u64)) -> String {
    let mut text = HEAD.to_owned();
    for number in 0..NAMES {
        entry(&mut text, number);
    }
    text
}

fn zonefile(criterion: &mut Criterion) {
    let zones = [
        (
            "addresses",
            zone(|text, n| {
                let [_, b, c, d] = u32::try_from(n).expect("a million").to_be_bytes();
                let _ = writeln!(text, "host{n:07} A 10.{b}.{c}.{d}");
            }),
        ),
        (
            "delegations",
            zone(|text, n| {
                let _ = writeln!(text, "domain{n:07}.example. 86400 IN NS ns{}.provider.test.", n % 100);
            }),
        ),
        (
            "signatures",
            zone(|text, n| {
                let _ = writeln!(
                    text,
                    "domain{n:07} RRSIG DS 13 2 3600 20300101000000 20260101000000 {} @ ( \
                 oJB1W6WNGv+ldvQ3WDG0MQkg5IEhjRip8WTrPYGv07h108dUKGMeDPKijVCHX3DDKdfb\n  \
                 +v6oB9wfuh3DTJXUAfI/M0zmO/zz8bW0Rznl8O3tGNazPwQKkRN20XPXV6nwwfoXmJQbsLNrLfkG ) ; {n}",
                    n % 65_536
                );
            }),
        ),
    ];
    let mut group = criterion.benchmark_group("zonefile");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).throughput(Throughput::Elements(NAMES));
    for (name, text) in &zones {
        group.bench_function(*name, |bencher| {
            bencher.iter(|| assert_eq!(count_records(text.as_bytes()).expect("a zone"), NAMES + 2));
        });
    }
    group.finish();
}

criterion_group!(benches, zonefile);
criterion_main!(benches);
