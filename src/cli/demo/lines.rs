//! The demo as plain lines: each change of the queue, and now and then the shares.

use std::collections::BTreeMap;
use std::time::Duration;

use super::scene::Scene;
use crate::cli::queue::Entry;
use crate::cli::words;

/// How often the shares are told.
const SHARES_EVERY: Duration = Duration::from_secs(5);

/// What was told before.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Where each job stood, by UID.
    stood: BTreeMap<String, String>,
    /// When the shares are told next.
    next: Duration,
}

impl Lines {
    /// What is new.
    pub(super) fn of(&mut self, scene: &Scene) -> String {
        let mut text = String::new();
        let at = format!("{:>6}", words::span(scene.elapsed));
        for entry in &scene.queue {
            let stands = standing(entry);
            let before = self.stood.insert(entry.uid.clone(), stands.clone());
            if before.as_ref() != Some(&stands) {
                let name = format!("{}/{}", entry.namespace, entry.name);
                text += &format!("{at}  {name:<18} {:>2} GPUs  {stands}\n", entry.gpus);
            }
        }
        if scene.elapsed >= self.next {
            self.next = scene.elapsed + SHARES_EVERY;
            text += &format!("{at}  {}\n", shares(scene));
        }
        text
    }
}

fn standing(entry: &Entry) -> String {
    if entry.nodes.is_empty() {
        return match entry.reason.as_str() {
            "" => entry.standing().to_lowercase(),
            reason => format!("{} ({reason})", entry.standing().to_lowercase()),
        };
    }
    let standing = entry.standing().to_lowercase();
    let nodes: Vec<&str> = entry.nodes.keys().map(String::as_str).collect();
    match standing.as_str() {
        "admitted" => format!("admitted on {}", nodes.join(", ")),
        _ => standing,
    }
}

fn shares(scene: &Scene) -> String {
    let team = |team: &crate::cli::shares::Holding| {
        let due = team
            .entitled_milli_gpus
            .map(words::gpus)
            .unwrap_or_default();
        format!(
            "{} {}/{due}",
            team.tenant,
            words::gpus(team.held_milli_gpus)
        )
    };
    let teams: Vec<String> = scene.teams.iter().map(team).collect();
    format!(
        "GPUs held/due: {}; {} of {} in use, {} waiting",
        teams.join(", "),
        words::gpus(scene.held()),
        words::gpus(scene.capacity),
        words::count(scene.waiting() as u64, "job")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::queue::tests::entry;
    use crate::cli::shares::Holding;
    use serde_json::json;

    #[test]
    fn only_what_changes_is_told() {
        let mut lines = Lines::default();
        let team = Holding {
            tenant: "vision".to_owned(),
            held_milli_gpus: 8_000,
            entitled_milli_gpus: Some(13_333),
            ..Holding::default()
        };
        let mut scene = Scene {
            queue: vec![entry("train", 1, json!({}))],
            teams: vec![team],
            capacity: 32_000,
            ..Scene::default()
        };
        assert_eq!(
            lines.of(&scene),
            "    0s  lab/train           8 GPUs  waiting (CapacityFull)\n    \
             0s  GPUs held/due: vision 8/13.333; 8 of 32 in use, 1 job waiting\n"
        );
        scene.elapsed = Duration::from_secs(1);
        assert_eq!(lines.of(&scene), "");
        let admitted = json!({
            "spec": {"admission": {"epoch": 1, "placement": [{"node": "a"}, {"node": "b"}]}},
            "status": {"state": "Admitted", "reason": "Admitted"},
        });
        scene.queue = vec![entry("train", 1, admitted)];
        assert_eq!(
            lines.of(&scene),
            "    1s  lab/train           8 GPUs  admitted on a, b\n"
        );
    }
}
