//! A schedule drawn from one number: who asks what, over which network, from which client.

use super::{
    application::{ApplicationConfig, Ending},
    client::{Profile, TcpStack},
    clocks::Clocks,
    network::Faults,
    packet::Micros,
    question::{LONGEST, MAX_ANSWER, MOST_IDS, SimQuestion, Style},
    relay::RelayBehaviour,
    servers::{KEEP, Servers},
};
use crate::seed::Random;

/// Everything that a run depends on.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Draws whatever is drawn under way.
    pub random: Random,
    /// The client.
    pub profile: Profile,
    /// Its application.
    pub plan: ApplicationConfig,
    /// The network's faults.
    pub faults: Faults,
    /// One way.
    pub latency: Micros,
    /// At most so much more.
    pub jitter: Micros,
    /// Merges segments to the server.
    pub coalesce: bool,
    /// Servers that segments are spread over.
    pub servers: usize,
    /// Connections that they remember something of.
    pub hints: usize,
    /// One in so many segments finds noise there; 0: none does.
    pub poison: usize,
    /// When their content is replaced, and by which.
    pub reloads: Vec<(Micros, u8)>,
    /// What time it is for them.
    pub clocks: Clocks,
    /// They have to ask for their answers.
    pub relay: Option<RelayBehaviour>,
    /// Largest payload that they send.
    pub segment_size: u16,
    /// The first connection's ISN.
    pub isn: Isn,
    /// Virtual time after which a run that is not complete has failed.
    pub limit: Micros,
}

/// Twenty questions, each of which waits for the longest timeout: slow, but not stuck.
const LIMIT: Micros = 4_000_000_000;

/// The sets that are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Clients that offer no timestamps.
    Single,
    /// All clients.
    Many,
    /// All clients, and a network that merges segments.
    Merging,
    /// All clients, and a server that has to ask for its answers.
    Relayed,
}

/// The first sequence numbers of the first connection.
#[derive(Clone, Copy, Debug)]
pub enum Isn {
    /// The client's.
    Client(u32),
    /// The server's, where it is the client's and a constant.
    Server(u32),
}

impl Isn {
    /// Half of them close to where 13, 16 or 32 bits wrap.
    fn draw(random: &mut Random) -> Self {
        let before = word(random, 300);
        let number = match random.below(6) {
            0 => u32::MAX - before,
            1 => (random.word() | 0xffff) - before,
            2 => (random.word() | 0x1fff) - before,
            _ => random.word(),
        };
        if random.one_in(2) { Self::Client(number) } else { Self::Server(number) }
    }

    /// The client's number.
    pub fn find(self, servers: &mut Servers, profile: &Profile, port: u16) -> u32 {
        match self {
            Self::Client(isn) => isn,
            Self::Server(iss) => iss.wrapping_sub(servers.initial(profile, port, 0).unwrap_or(0)),
        }
    }
}

impl Scenario {
    /// Whether nothing is lost, late or out of its order.
    pub fn quiet(&self) -> bool {
        self.jitter == 0
            && matches!(
                self.faults,
                Faults::Random { lose: 0, duplicate: 0, delay: 0, .. } | Faults::Script { digits: 0, .. }
            )
    }

    /// Whether the client has no reason to resend anything: nothing happens to a segment, each question waits for the
    /// answer before it and is whole, each answer fits the window by far, and its acknowledgment is confirmed within a timeout.
    pub fn serene(&self) -> bool {
        let (plan, profile) = (&self.plan, &self.profile);
        let fits =
            |question: &SimQuestion| 4 * question.length() < usize::try_from(profile.buffer).unwrap_or(0);
        self.quiet()
            && self.clocks.are_steady()
            && self.relay.is_none()
            && profile.timestamps
            && profile.rto_min >= 200_000
            && self.latency <= 20_000
            && plan.depth == 1
            && plan.ending == Ending::Close
            && plan.messy == 0
            && plan.reading.is_none()
            && plan.questions.iter().all(fits)
    }

    /// The scenario that `seed` stands for.
    pub fn draw(seed: u64, scope: Scope) -> Self {
        let mut random = Random::from_seed(seed);
        let segment_size = random.pick(&[1220, 1220, 512, 100, 100]);
        let mut profile = profile(&mut random, scope);
        let (servers, hints) = (1 + random.below(3), random.pick(&[0, 1, 64, 64]));
        let poison = random.pick(&[0, 0, 3, 30]);
        let lossy = hints > 0 && (servers > 1 || poison > 0);
        let mut plan = plan(&mut random, &profile, segment_size, lossy);
        let latency = random.pick(&[100, 1_000, 20_000, 80_000]);
        let jitter = if random.one_in(4) { random.pick(&[latency / 2, 4 * latency]) } else { 0 };
        let until = random.pick(&[100_000, 1_000_000, 5_000_000]);
        let rates = [0, 0, 10, 50, 100, 300, 500];
        let faults = if random.one_in(3) {
            Faults::few(&mut random)
        } else if random.one_in(8) {
            Faults::Random { lose: 0, duplicate: 0, delay: 0, until: 0 }
        } else {
            Faults::Random {
                lose: random.pick(&rates),
                duplicate: random.pick(&rates) / 3,
                delay: random.pick(&rates) / 3,
                until,
            }
        };
        let isn = Isn::draw(&mut random);
        let relayed = scope == Scope::Relayed;
        let relay = relayed.then(|| RelayBehaviour {
            delay: random.pick(&[100, 3_000, 50_000, 1_500_000]),
            forget: random.pick(&[0, 0, 30]),
        });
        // Draws that came later than the others, which stay what they were.
        let mut mood = Random::from_seed(random.clone().draw());
        let last = plan.questions.iter().find(|question| question.last && question.answer > 4_000);
        // Of a much larger one each window would wait for a timer that has backed off.
        let fits = |most: u16| plan.questions.iter().all(|question| question.answer / 4 <= most);
        let last = last.filter(|question| fits(question.answer));
        if let Some(question) = last.filter(|_| profile.timestamps && mood.one_in(2)) {
            // A window that takes an answer, and not the FIN behind it.
            profile.buffer = question.answer.into();
        } else if profile.timestamps
            && profile.buffer == WHOLE
            && segment_size > 100
            && !lossy
            && !relayed
            && mood.one_in(50)
        {
            plan.lengthen(&mut mood);
        } else if segment_size > 100 && !lossy && mood.one_in(30) {
            plan.exceed(&mut mood, profile.buffer);
        }
        Self {
            profile,
            plan: ApplicationConfig { relayed, ..plan },
            faults,
            latency,
            jitter,
            coalesce: scope == Scope::Merging,
            // What one was told the others do not know.
            servers: if relayed { 1 } else { servers },
            hints,
            poison,
            relay,
            reloads: reloads(&mut random),
            clocks: Clocks::draw(&mut mood, relayed),
            segment_size,
            isn,
            limit: LIMIT,
            random,
        }
    }
}

/// A client's buffer that takes all of an answer.
const WHOLE: i64 = 65_535;

impl ApplicationConfig {
    /// Makes one answer larger than the client's window, a few of which it takes; half of them as large as can be.
    fn exceed(&mut self, random: &mut Random, window: i64) {
        let window = usize::try_from(window).expect("positive");
        let most = LONGEST.min(4 * window - 1_000);
        let length =
            if random.one_in(2) { most - random.below(4) } else { most - random.below(most - window / 2) };
        let which = random.below(self.questions.len());
        self.questions[which] = self.questions[which].asking_for(length);
        self.bytes.clear();
        self.questions.iter().for_each(|question| question.write(self.style, &mut self.bytes));
    }

    /// Makes every answer so long that what is lacking of one and the next are together more than can be told apart.
    fn lengthen(&mut self, random: &mut Random) {
        self.bytes.clear();
        for question in &mut self.questions {
            question.answer = u16::try_from(MAX_ANSWER - random.below(30_000)).expect("below 2^16");
            question.write(self.style, &mut self.bytes);
        }
    }
}

/// Contents that take each other's place.
const CONTENTS: usize = 12;
/// Most reloads of a run: more than may follow each other without waiting.
const MOST_RELOADS: usize = 12;

/// None in most runs. Of two, the second comes when the first one's content is forgotten; more come as they like.
fn reloads(random: &mut Random) -> Vec<(Micros, u8)> {
    let mut draw = |from: Micros| {
        let within = random.pick(&[1_000, 100_000, 1_000_000, 20_000_000]);
        from + Micros::from(word(random, within))
    };
    let first = draw(0);
    let second = draw(first + KEEP);
    match random.below(6) {
        0 => vec![(first, 1)],
        1 => vec![(first, 1), (second, 0)],
        // Draws that came later than the others, which stay what they were.
        2 if random.clone().one_in(2) => {
            let mut mood = Random::from_seed(random.clone().draw());
            let apart = mood.pick(&[1_000, 50_000, 1_000_000, 15_000_000]);
            let mut at = 0;
            let count = 2 + mood.below(MOST_RELOADS - 1);
            let mut draw = |_| {
                at += Micros::from(word(&mut mood, apart));
                (at, u8::try_from(mood.below(CONTENTS)).expect("few"))
            };
            (0..count).map(&mut draw).collect()
        }
        _ => vec![],
    }
}

fn word(random: &mut Random, bound: usize) -> u32 {
    u32::try_from(random.below(bound)).expect("small")
}

fn profile(random: &mut Random, scope: Scope) -> Profile {
    let kind = random.pick(&[TcpStack::Linux, TcpStack::Linux, TcpStack::Bsd]);
    let linux = kind == TcpStack::Linux;
    // Draws that came later than the others, which stay what they were.
    let mut mood = Random::from_seed(random.clone().draw());
    Profile {
        kind,
        timestamps: scope != Scope::Single && !random.one_in(8),
        mss: random.pick(&[1460, 1460, 1460, 1220, 1200, 536]),
        buffer: random.pick(&[65_535, 65_535, 65_535, 20_000, 4_000]),
        nagle: random.one_in(2),
        autocork: linux && random.one_in(4),
        collapse: linux && !random.one_in(4),
        frto: linux && random.one_in(2),
        probe: linux && random.one_in(4),
        quick: random.pick(&[0, 1, 16]),
        predicts: linux && !mood.one_in(4),
        reader: linux && mood.one_in(2),
        defer_ack: random.one_in(4),
        rto_min: if random.one_in(8) { 30_000 } else { 200_000 },
        ack_delay: random.pick(&[40_000, 40_000, 100_000, 500]),
        keep_alive: random.one_in(4).then(|| random.pick(&[300_000, 1_000_000])),
        clock: if random.one_in(4) { u32::MAX - 1_000 } else { random.word() },
    }
}

fn plan(random: &mut Random, profile: &Profile, segment_size: u16, lossy: bool) -> ApplicationConfig {
    let style = if random.one_in(4) { Style::Http } else { Style::Dns };
    let count = random.pick(&[1, 1, 2, 2, 3, 4, 6, 20]);
    let lengths = random.below(4);
    let questions: Vec<SimQuestion> =
        (0..count).map(|_| question(random, lengths, profile, segment_size, lossy)).collect();
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for question in &questions {
        question.write(style, &mut bytes);
        ends.push(bytes.len());
    }
    let ending = match random.below(16) {
        0 => Ending::Early(random.below(count + 1)),
        1 => Ending::Abort(random.below(count + 1)),
        2 | 3 => Ending::HalfClose,
        _ => Ending::Close,
    };
    ApplicationConfig {
        style,
        relayed: false,
        cuts: cuts(random, style, &ends),
        messy: random.pick(&[0, 1, 3]),
        depth: random.pick(&[1, 1, 2, 20]),
        pause: random.pick(&[0, 0, 100, 3_000, 60_000, 300_000]),
        eager: random.one_in(4),
        reading: random.one_in(6).then(|| (random.pick(&[50, 300, 5_000]), random.pick(&[500, 10_000]))),
        ending,
        linger: random.pick(&[0, 0, 0, 5_000, 10_000_000]),
        questions,
        bytes,
        ends,
    }
}

/// Most bytes of an answer to a message whose beginning is kept and may be lost.
const MOST_SPLIT: usize = 16_384;

fn question(
    random: &mut Random,
    lengths: usize,
    profile: &Profile,
    segment_size: u16,
    lossy: bool,
) -> SimQuestion {
    let &Profile { buffer, mss, .. } = profile;
    let size = usize::from(segment_size);
    let fits = (usize::try_from(buffer).expect("positive") - 3).min(MAX_ANSWER);
    let answer = match if lengths == 3 { random.below(3) } else { lengths } {
        0 => random.below(size.min(200) + 1),
        1 => random.pick(&[
            0,
            1,
            size - 13,
            size - 12,
            size - 11,
            size - 1,
            size,
            size + 1,
            2 * size,
            3 * size + 7,
        ]),
        _ => random.below(5 * size),
    };
    let answer = if random.one_in(40) { random.below(50 * size) } else { answer };
    let answer = if lossy { answer.min(MOST_SPLIT) } else { answer };
    // No protocol answers with a single byte: FIN, which counts one, would look the same.
    let answer = if answer == 1 { 2 } else { answer };
    SimQuestion {
        id: random.short() % MOST_IDS,
        answer: u16::try_from(answer.min(fits)).expect("below 2^16"),
        last: random.one_in(30),
        padding: random.pick(&[0, 0, 5, 30, 300, 1000]).min(usize::from(mss) - 50),
    }
}

/// The ends of writes, as offsets in all that is written.
fn cuts(random: &mut Random, style: Style, ends: &[usize]) -> Vec<usize> {
    let mut cuts = Vec::new();
    let manner = random.below(5);
    let mut begin = 0;
    for &end in ends {
        match manner {
            // Whole messages, one write each; sometimes two in one.
            0 | 1 => {}
            // The prefix by itself.
            2 if style == Style::Dns => cuts.push(begin + 2),
            // Anywhere.
            _ => {
                let mut places: Vec<usize> =
                    (0..random.below(3)).map(|_| begin + 1 + random.below(end - begin)).collect();
                places.sort_unstable();
                cuts.extend(places);
            }
        }
        if manner != 1 || random.one_in(2) {
            cuts.push(end);
        }
        begin = end;
    }
    cuts.dedup();
    cuts
}
