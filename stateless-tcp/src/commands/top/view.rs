//! Draws the state, as far as the terminal has room.

use super::state::{QueueRow, Rates, TopState};
use crate::observe::snapshot::InterfaceSnapshot;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Table};

/// Height of the headline.
const HEAD: u16 = 2;

/// Lines of a table besides its rows: two of border, one of titles.
const TABLE_OVERHEAD: u16 = 3;

/// Width of a rate.
const RATE_WIDTH: u16 = 8;

/// Draws everything.
pub(super) fn draw(state: &TopState, frame: &mut Frame<'_>) {
    let area = frame.area();
    // The queues have at most a third of the lines, the four tables of rates the rest.
    let queues = u16::try_from(state.now.queues.len()).unwrap_or(u16::MAX);
    let queues = queues.saturating_add(TABLE_OVERHEAD).min(area.height / 3).max(TABLE_OVERHEAD + 1);
    let [head, middle, upper, lower, foot] = Layout::vertical([
        Constraint::Length(HEAD),
        Constraint::Length(queues),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(headline(state)), head);
    draw_queues(state, frame, middle);
    let halves = |area: Rect| Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    let ([rules, reasons], [names, clients]) = (halves(upper), halves(lower));
    for (title, rates, area) in [
        ("Answered, by rule", &state.by_rule(), rules),
        ("Not answered, by reason", &state.by_reason(), reasons),
        ("Asked for, sampled", &state.by_name, names),
        ("Clients, sampled", &state.by_client, clients),
    ] {
        draw_rates(title, rates, frame, area);
    }
    frame.render_widget(Paragraph::new("a second; q ends").dim(), foot);
}

fn headline(state: &TopState) -> Vec<Line<'static>> {
    let now = &state.now;
    let interface = |interface: &InterfaceSnapshot| {
        let InterfaceSnapshot { name, condition, xdp_mode, copy, handshake, handshake_reason, .. } =
            interface;
        if condition == "up" {
            let reason = match &**handshake_reason {
                "" => String::new(),
                reason => format!(" ({reason})"),
            };
            Span::from(format!("{name}: {xdp_mode}, {copy}, handshake by the {handshake}{reason}"))
        } else {
            Span::from(format!("{name}: {condition}")).red().bold()
        }
    };
    let interfaces = now.interfaces.iter().map(interface);
    let interfaces = interfaces.flat_map(|interface| [Span::from("; "), interface]).skip(1);
    vec![
        Line::from(format!(
            "stateless-tcp, up {}; content {} for {}{}, key for {}",
            age(now.time - now.started),
            now.generation,
            age(now.time - now.generation_since),
            former(now.former_generations),
            age(now.time - now.key_since),
        ))
        .bold(),
        interfaces.collect::<Line<'_>>(),
    ]
}

/// The number of earlier generations that are served.
fn former(generations: u64) -> String {
    if generations == 0 { String::new() } else { format!(" ({generations} before it kept)") }
}

fn draw_queues(state: &TopState, frame: &mut Frame<'_>, area: Rect) {
    let titles = ["queue", "in", "out", "answers", "50 %", "99 %", "free", "lost"];
    let time = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), duration);
    let row = |row: QueueRow| {
        let style = if row.lost > 0.0 { Style::new().red() } else { Style::new() };
        Row::new([
            row.name,
            number(row.received),
            number(row.sent),
            number(row.messages),
            time(row.quantiles[0]),
            time(row.quantiles[1]),
            row.free.to_string(),
            number(row.lost),
        ])
        .style(style)
    };
    let widths = [Constraint::Fill(2)].into_iter().chain([Constraint::Fill(1); 7]);
    let table = Table::new(state.queues().into_iter().map(row), widths)
        .header(Row::new(titles).bold())
        .block(Block::bordered().title("Queues"));
    frame.render_widget(table, area);
}

fn draw_rates(title: &'static str, rates: &Rates, frame: &mut Frame<'_>, area: Rect) {
    let rows = rates.iter().map(|(name, rate)| Row::new([name.clone(), format!("{:>7}", number(*rate))]));
    let table = Table::new(rows, [Constraint::Fill(1), Constraint::Length(RATE_WIDTH)])
        .block(Block::bordered().title(title));
    frame.render_widget(table, area);
}

/// A number with about three digits: `7.5`, `312`, `41.2k`, `3.1M`.
fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1}M", value / 1e6),
        value if value >= 1e4 => format!("{:.1}k", value / 1e3),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

/// A duration without decimals.
fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 1.0 => format!("{seconds:.0} s"),
        seconds if seconds >= 1e-3 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{:.0} us", seconds * 1e6),
    }
}

/// An age in its largest unit.
fn age(seconds: f64) -> String {
    let units = [(86_400.0, "d"), (3_600.0, "h"), (60.0, "min")];
    let unit = units.into_iter().find(|&(unit, _)| seconds >= unit);
    unit.map_or_else(
        || format!("{seconds:.0} s"),
        |(unit, name)| format!("{:.0} {name}", (seconds / unit).floor()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::snapshot;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use rstest::rstest;

    #[rstest]
    #[case::small(80, 24, 2)]
    #[case::many_queues(80, 24, 64)]
    #[case::large(200, 50, 8)]
    fn everything_is_drawn(#[case] width: u16, #[case] height: u16, #[case] queues: u32) {
        let mut state = TopState::default();
        state.update(snapshot(100.0, 1_000, queues));
        state.update(snapshot(101.0, 13_345, queues));
        state.by_name = vec![("www.example.com".to_owned(), 7.0)];
        state.by_client = vec![("192.0.2.0/24".to_owned(), 7.0)];
        state.now.former_generations = 3;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(&state, frame)).unwrap();
        let text = terminal.backend().to_string();
        for word in [
            "eth0: native, copy, handshake by the driver (as configured)",
            "(3 before it kept), key for",
            "Queues",
            "answers",
            "lost",
            "eth0/0",
            "12.3k",
            "10 us",
            "1 ms",
            "2048",
            "by rule",
            "syn_ack",
            "by reason",
            "bad_cookie",
            "www.example.com",
            "192.0.2.0/24",
            "7.0",
            "q ends",
        ] {
            assert!(text.contains(word), "{word} is not in\n{text}");
        }
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.25, 9.94, 10.0, 9_999.0, 12_345.0, 1_234_567.0].map(number);
        assert_eq!(numbers, ["0", "0.2", "9.9", "10", "9999", "12.3k", "1.2M"]);
        assert_eq!([1e-6, 5e-4, 2e-3, 10.0].map(duration), ["1 us", "500 us", "2 ms", "10 s"]);
        assert_eq!([0.4, 59.0, 61.0, 7_300.0, 200_000.0].map(age), ["0 s", "59 s", "1 min", "2 h", "2 d"]);
    }
}
