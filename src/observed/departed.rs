//! Pods that went without having been seen on a node: who was told a place and is among them does
//! not come any more.

use std::collections::VecDeque;

use rpds::RedBlackTreeSetSync;

use super::Uid;

/// So many are remembered; by then nobody asks for the first of them any more.
const PODS_MAX: usize = 1024;

/// The last of such pods.
#[derive(Debug, Default)]
pub(super) struct Departed {
    pods: RedBlackTreeSetSync<Uid>,
    in_order: VecDeque<Uid>,
}

impl Departed {
    pub(super) const fn pods(&self) -> &RedBlackTreeSetSync<Uid> {
        &self.pods
    }

    /// One more has gone.
    pub(super) fn note(&mut self, pod: &str) {
        if self.pods.contains(pod) {
            return;
        }
        if self.in_order.len() == PODS_MAX
            && let Some(first) = self.in_order.pop_front()
        {
            self.pods.remove_mut(&first);
        }
        self.in_order.push_back(pod.to_owned());
        self.pods.insert_mut(pod.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_so_many_are_remembered() {
        let mut departed = Departed::default();
        for pod in 0..=PODS_MAX {
            departed.note(&pod.to_string());
            departed.note(&pod.to_string());
        }
        assert_eq!(departed.pods().size(), PODS_MAX);
        assert!(!departed.pods().contains("0") && departed.pods().contains("1"));
    }
}
