//! The embedded DNS service answers as Knot DNS does, over the same zones. Where Knot departs from the texts, NSD or
//! BIND is asked instead; [`stateless_tcp_tests::exceptions`] names each case.

use anyhow::Context as _;
use stateless_tcp::services::dns::{Dns, DnsOptions};
use stateless_tcp::services::{Context, MAX_RESPONSE, Service};
use stateless_tcp_tests::compare::{Reply, difference};
use stateless_tcp_tests::exceptions::{Arbiter, arbiter, settle};
use stateless_tcp_tests::nameserver::{Bind, Knot, Nsd, ask, free_address, zones};
use stateless_tcp_tests::questions::list;
use std::collections::HashSet;
use std::fmt::Write as _;

fn ours(dns: &Dns, query: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut response = Vec::with_capacity(MAX_RESPONSE);
    let framed = [&u16::try_from(query.len())?.to_be_bytes(), query].concat();
    dns.answer(&framed, &Context::default(), &mut response).expect("an answer");
    Ok(response.split_off(2))
}

#[test]
fn every_answer_equals_knots() -> anyhow::Result<()> {
    let zones = zones();
    let sources: Vec<_> = zones.iter().cloned().map(Into::into).collect();
    let dns = Dns::load(&sources, &DnsOptions::default())?;
    let (knot_at, nsd_at, bind_at) = (free_address()?, free_address()?, free_address()?);
    let _knot = Knot::start(&zones, knot_at, None)?;
    let _nsd = Nsd::start(&zones, nsd_at, None)?;
    let _bind = Bind::start(&zones, bind_at, None)?;
    let questions = list();
    assert!(questions.len() >= 330);
    assert_eq!(questions.iter().collect::<HashSet<_>>().len(), questions.len());

    let (mut report, mut differing, mut by_knot) = (String::new(), 0, 0);
    for (id, question) in (1..).zip(&questions) {
        let query = question.wire(id);
        let (arbiter, _) = arbiter(question);
        let server = match arbiter {
            Arbiter::Knot => knot_at,
            Arbiter::Nsd => nsd_at,
            Arbiter::Bind => bind_at,
        };
        by_knot += usize::from(arbiter == Arbiter::Knot);
        let mut actual = Reply::parse(&ours(&dns, &query)?).with_context(|| question.to_string())?;
        let mut expected = Reply::parse(&ask(server, &query)?).with_context(|| question.to_string())?;
        settle(question, arbiter, &mut expected, &mut actual);
        if let Some(lines) = difference(&expected, &actual) {
            differing += 1;
            writeln!(report, "{question}: not as {arbiter:?} answers\n{lines}")?;
        }
    }
    assert!(report.is_empty(), "{differing} of {} answers differ:\n{report}", questions.len());
    assert!(by_knot >= 1_000, "{by_knot} answers compared with Knot's");
    Ok(())
}
