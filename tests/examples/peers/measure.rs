//! One server under one load: rates, waits, and what both cores did.

use std::thread;
use std::time::{Duration, Instant};

use stateless_tcp_tests::cores::{idle_time, time_of};
use stateless_tcp_tests::veth_xdp_peer::VethXdpPeer;
use stateless_tcp_tests::{asker, prober};

use crate::load::Load;
use crate::results::Sample;
use crate::testbed::{Content, OTHERS_CORE, SERVER, SERVERS_CORE, Testbed, names};

/// Before what is measured: generators start, and what can be in a cache is.
const LEAD: Duration = Duration::from_millis(600);
/// Seconds that a generator runs longer than is measured.
const AROUND: u32 = 1;
/// A second.
const PROBES: u32 = 1_000;

/// Load of both cores for `time`, 0 to 1: the server's, the others'. What nobody is charged with is in it, such as
/// softirqs while nothing runs: it is the time that is not the kernel's idle task's.
pub(crate) fn busy(time: Duration) -> anyhow::Result<[f64; 2]> {
    let idle = || anyhow::Ok([idle_time(SERVERS_CORE)?, idle_time(OTHERS_CORE)?]);
    let (began, before) = (Instant::now(), idle()?);
    thread::sleep(time);
    let (took, after) = (began.elapsed(), idle()?);
    let busy =
        |core: usize| 1.0 - after[core].saturating_sub(before[core]).as_secs_f64() / took.as_secs_f64();
    Ok([busy(0).clamp(0.0, 1.0), busy(1).clamp(0.0, 1.0)])
}

/// Measures for so many seconds, behind a lead in which the load is there already.
pub(crate) fn measure(
    (name, testbed): (&str, &Testbed),
    content: &Content,
    load: Load,
    seconds: u32,
) -> anyhow::Result<Sample> {
    // Without an XDP program there the kernel's clients would not get what the driver sends; kxdpgun brings its own. It
    // is the same for all servers.
    let _xdp_peer =
        load.generator.is_kernels().then(|| VethXdpPeer::attach(&testbed.client, &testbed.at_client));
    let window = Duration::from_secs(seconds.into());
    let query = asker::query(&names().next().unwrap_or_default());
    thread::scope(|scope| {
        let asked = scope.spawn(|| load.run(testbed, content, seconds + AROUND));
        thread::sleep(LEAD);
        let waits = scope.spawn(|| prober::run(&testbed.client, SERVER, &query, PROBES, window, OTHERS_CORE));
        let times = || anyhow::Ok((time_of(testbed.pid())?, testbed.napi_time()?));
        let (process_before, napi_before) = times()?;
        let [server_core, generator_core] = busy(window)?;
        let (process, napi) = times()?;
        let waits = waits.join().expect("the prober does not panic")?;
        let asked = asked.join().expect("a generator does not panic")?;
        #[expect(clippy::cast_precision_loss, reason = "some thousand")]
        let answered = asked.answered + waits.answered() as f64 / window.as_secs_f64();
        let microseconds = |time: Duration| time.as_secs_f64() * 1e6;
        let each = |time: Duration| microseconds(time) / window.as_secs_f64() / answered;
        Ok(Sample {
            server: name.to_owned(),
            generator: load.generator.to_string(),
            rate: load.rate,
            offered: asked.offered,
            answered: asked.answered,
            server_core,
            generator_core,
            cost: server_core * 1e6 / answered,
            process_cost: each(process.saturating_sub(process_before)),
            napi_cost: each(napi.saturating_sub(napi_before)),
            latency: [500, 990, 999].map(|permille| waits.permille(permille).map(microseconds)),
            probes: waits.answered() + waits.failed,
            probes_failed: waits.failed,
        })
    })
}
