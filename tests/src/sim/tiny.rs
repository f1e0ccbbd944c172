//! Tiny conversations, to be met with everything that can happen to their first segments.

use super::{
    application::{ApplicationConfig, Ending},
    client::{Profile, TcpStack},
    clocks::Clocks,
    network::Faults,
    packet::Micros,
    question::{SimQuestion, Style},
    scenario::{Isn, Scenario},
};
use crate::seed::{Random, size};

/// Fates that a segment may meet with.
const FATES: u64 = 4;
const SEGMENT_SIZE: u16 = 100;
/// Answers of none, one and three segments, in all orders.
const ANSWERS: [&[u16]; 6] = [&[40], &[250], &[40, 250], &[250, 40], &[250, 250], &[0, 40]];
const ENDINGS: [Ending; 2] = [Ending::Close, Ending::HalfClose];
/// Overtaken by what follows; or behind a retransmission.
const LATE: [Micros; 2] = [3_000, 250_000];
const CLIENTS: usize = 6;

/// Segments that meet with everything, in a sample and at full size.
pub fn depth() -> u32 {
    u32::try_from(size(5, 9)).expect("small")
}

/// Number of scenarios in which the first `depth` segments meet with everything.
pub fn count(depth: u32) -> u64 {
    FATES.pow(depth) * (ANSWERS.len() * ENDINGS.len() * LATE.len() * CLIENTS * 2) as u64
}

/// One of them; `number` means the same scenario at any depth that reaches it.
pub fn draw(number: u64, depth: u32) -> Scenario {
    let (digits, rest) = (number % FATES.pow(depth), number / FATES.pow(depth));
    let mut rest = usize::try_from(rest).expect("few");
    let mut choose = |choices: usize| {
        let chosen = rest % choices;
        rest /= choices;
        chosen
    };
    let answers = ANSWERS[choose(ANSWERS.len())];
    let ending = ENDINGS[choose(ENDINGS.len())];
    let late = LATE[choose(LATE.len())];
    let profile = profile(choose(CLIENTS));
    let questions: Vec<SimQuestion> =
        (1..).zip(answers).map(|(id, &answer)| SimQuestion { id, answer, last: false, padding: 3 }).collect();
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for question in &questions {
        question.write(Style::Dns, &mut bytes);
        ends.push(bytes.len());
    }
    let plan = ApplicationConfig {
        relayed: false,
        style: Style::Dns,
        cuts: ends.clone(),
        messy: 1,
        depth: 1 + choose(2),
        pause: 0,
        eager: false,
        reading: None,
        ending,
        linger: 0,
        questions,
        bytes,
        ends,
    };
    Scenario {
        relay: None,
        random: Random::from_seed(1),
        profile,
        plan,
        faults: Faults::Script { digits, late },
        latency: 1_000,
        jitter: 0,
        coalesce: false,
        servers: 1,
        hints: 0,
        poison: 0,
        reloads: vec![],
        clocks: Clocks::agreeing(),
        segment_size: SEGMENT_SIZE,
        isn: Isn::Client(0x7fff_fff8),
        limit: 1_000_000_000,
    }
}

fn profile(which: usize) -> Profile {
    let linux = Profile {
        kind: TcpStack::Linux,
        timestamps: true,
        mss: 1460,
        buffer: 65_535,
        nagle: false,
        autocork: false,
        collapse: true,
        frto: false,
        probe: false,
        quick: 16,
        predicts: true,
        reader: false,
        defer_ack: false,
        rto_min: 200_000,
        ack_delay: 40_000,
        keep_alive: None,
        clock: 5_000,
    };
    match which {
        0 => linux,
        1 => Profile { collapse: false, quick: 0, frto: true, ..linux },
        2 => Profile { nagle: true, probe: true, quick: 1, defer_ack: true, ..linux },
        3 => Profile { kind: TcpStack::Bsd, predicts: false, collapse: false, quick: 0, ..linux },
        4 => Profile { kind: TcpStack::Bsd, predicts: false, collapse: false, nagle: true, ..linux },
        _ => Profile { buffer: 150, quick: 1, ..linux },
    }
}
