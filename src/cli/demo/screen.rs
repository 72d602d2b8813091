//! The demo on a terminal: the shares above, the queue below, live.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table};
use ratatui::{DefaultTerminal, Frame};

use super::Wish;
use super::scene::Scene;
use crate::cli::output::Tone;
use crate::cli::queue::Entry;
use crate::cli::shares::Holding;
use crate::cli::{list, share, words};

/// The terminal, for as long as this lives.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        Ok(Self { terminal })
    }

    /// Shows a scene.
    pub(super) fn show(&mut self, scene: &Scene) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, scene)).map(drop)
    }

    /// What was typed since it was asked last.
    pub(super) fn wish() -> io::Result<Option<Wish>> {
        let mut wish = None;
        while event::poll(Duration::ZERO)? {
            let Event::Key(key) = event::read()? else {
                continue;
            };
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            wish = match key.code {
                _ if key.kind != KeyEventKind::Press => wish,
                KeyCode::Char('c') if control => return Ok(Some(Wish::Quit)),
                KeyCode::Char('q') | KeyCode::Esc => return Ok(Some(Wish::Quit)),
                KeyCode::Char('p') => Some(Wish::Pause),
                _ => wish,
            };
        }
        Ok(wish)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn draw(frame: &mut Frame, scene: &Scene) {
    let teams = u16::try_from(scene.teams.len()).unwrap_or(3) + 3;
    let parts = [
        Constraint::Length(1),
        Constraint::Length(teams),
        Constraint::Min(4),
        Constraint::Length(3),
    ];
    let [head, shares, queue, foot] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(headline(scene), head);
    draw_shares(frame, scene, shares);
    draw_queue(frame, scene, queue);
    frame.render_widget(footer(scene), foot);
}

fn headline(scene: &Scene) -> Line<'static> {
    let arrivals = if scene.paused {
        "   arrivals are paused"
    } else {
        ""
    };
    let text = format!(
        " Prorata   {}   {} of {} GPUs in use   {} waiting{arrivals}",
        words::span(scene.elapsed),
        words::gpus(scene.held()),
        words::gpus(scene.capacity),
        words::count(scene.waiting() as u64, "job"),
    );
    Line::styled(text, Style::new().add_modifier(Modifier::BOLD))
}

fn draw_shares(frame: &mut Frame, scene: &Scene, area: Rect) {
    let rows = scene
        .teams
        .iter()
        .map(|team| team_row(team, scene.capacity));
    let widths = [12, 6, 9, 9, 9, 26].map(Constraint::Length);
    let titles = Row::new([
        "TEAM",
        "HELD",
        "ENTITLED",
        "RUNNING",
        "WAITING",
        "█ held  | due",
    ]);
    let table = Table::new(rows, widths)
        .header(titles.style(Style::new().add_modifier(Modifier::DIM)))
        .block(Block::bordered().title(" Shares "));
    frame.render_widget(table, area);
}

fn team_row(team: &Holding, capacity: u64) -> Row<'static> {
    let cells = [
        team.tenant.clone(),
        words::gpus(team.held_milli_gpus),
        team.entitled_milli_gpus
            .map(words::gpus)
            .unwrap_or_default(),
        team.running.to_string(),
        team.waiting.to_string(),
        share::bar(team, capacity),
    ];
    Row::new(cells).style(style(share::tone(team)))
}

fn draw_queue(frame: &mut Frame, scene: &Scene, area: Rect) {
    let rows = scene.queue.iter().map(|entry| job_row(entry, scene));
    let widths = [9, 12, 6, 10, 5, 8].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Fill(1)]);
    let titles = Row::new([
        "TEAM",
        "JOB",
        "GPUS",
        "STATE",
        "POS",
        "WAIT",
        "WHERE, OR WHY NOT",
    ]);
    let table = Table::new(rows, widths)
        .header(titles.style(Style::new().add_modifier(Modifier::DIM)))
        .block(Block::bordered().title(" Queue "));
    frame.render_widget(table, area);
}

fn job_row(entry: &Entry, scene: &Scene) -> Row<'static> {
    let nodes: Vec<&str> = entry.nodes.keys().map(String::as_str).collect();
    let position = entry.position.map(|position| position.to_string());
    let last = match nodes.is_empty() {
        true => entry.reason.clone(),
        false => nodes.join(", "),
    };
    let cells = [
        entry.tenant.clone(),
        entry.name.clone(),
        entry.gpus.clone(),
        entry.standing().to_owned(),
        position.unwrap_or_default(),
        words::span(entry.waited(scene.now)),
        last,
    ];
    Row::new(cells.map(Cell::from)).style(style(list::tone(entry)))
}

fn footer(scene: &Scene) -> Paragraph<'static> {
    let keys = Line::from(" q quit   p pause or resume arrivals        in another terminal:");
    let shell = format!(" export KUBECONFIG={}", scene.kubeconfig);
    let examples =
        Line::from(" kubectl get queuedjobs -A     prorata explain JOB -n TEAM     prorata share");
    Paragraph::new(vec![keys, Line::from(shell), examples])
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Wait => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red),
        Tone::Dim => Style::new().add_modifier(Modifier::DIM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::queue::tests::entry;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    #[test]
    fn shares_and_queue_are_on_the_screen() {
        let team = Holding {
            tenant: "vision".to_owned(),
            held_milli_gpus: 16_000,
            entitled_milli_gpus: Some(8_000),
            ..Holding::default()
        };
        let scene = Scene {
            paused: true,
            capacity: 32_000,
            teams: vec![team],
            queue: vec![entry("train-1", 1, json!({}))],
            kubeconfig: "/tmp/admin.kubeconfig".to_owned(),
            ..Scene::default()
        };
        let mut terminal = Terminal::new(TestBackend::new(90, 20)).unwrap();
        terminal.draw(|frame| draw(frame, &scene)).unwrap();
        let text = terminal.backend().to_string();
        for shown in [
            "16 of 32 GPUs in use   1 job waiting   arrivals are paused",
            "vision       16     8",
            "██████|█████············",
            "train-1      8      Waiting",
            "CapacityFull",
            "export KUBECONFIG=/tmp/admin.kubeconfig",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
    }
}
