//! In which order pods arrive.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::input::Pod;

/// All pods of a list once, shuffled; then, without end, any of them.
pub(super) struct Arrivals<'a> {
    pods: &'a [Pod],
    /// What is left of the first round, last first.
    first: Vec<&'a Pod>,
    random: Pcg64,
}

impl<'a> Arrivals<'a> {
    pub(super) fn new(pods: &'a [Pod], seed: u64) -> Self {
        let mut random = Pcg64::seed_from_u64(seed);
        let mut first: Vec<&Pod> = pods.iter().collect();
        for last in (1..first.len()).rev() {
            first.swap(last, below(&mut random, last + 1));
        }
        Self {
            pods,
            first,
            random,
        }
    }
}

impl<'a> Iterator for Arrivals<'a> {
    type Item = &'a Pod;

    fn next(&mut self) -> Option<&'a Pod> {
        match self.first.pop() {
            Some(pod) => Some(pod),
            None if self.pods.is_empty() => None,
            None => self.pods.get(below(&mut self.random, self.pods.len())),
        }
    }
}

fn below(random: &mut impl Rng, count: usize) -> usize {
    random.random_range(0..count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prorata_core::Resources;
    use std::sync::Arc;

    fn pods(count: usize) -> Vec<Pod> {
        let pod = |i: usize| Pod {
            name: i.to_string(),
            task: Resources::gpus(1),
            needs: Arc::default(),
        };
        (0..count).map(pod).collect()
    }

    fn names(pods: &[Pod], seed: u64, count: usize) -> Vec<String> {
        let arrivals = Arrivals::new(pods, seed).take(count);
        arrivals.map(|pod| pod.name.clone()).collect()
    }

    #[test]
    fn every_pod_comes_once_before_any_comes_twice() {
        let pods = pods(50);
        let drawn = names(&pods, 1, 5000);
        let mut first = drawn[..50].to_vec();
        first.sort_by_key(|name| name.parse::<u32>().unwrap());
        assert_eq!(
            first,
            pods.iter().map(|p| p.name.clone()).collect::<Vec<_>>()
        );
        assert_ne!(first, drawn[..50]);
        // Each of the others about 99 times.
        let often = |name: &String| drawn.iter().filter(|n| *n == name).count();
        assert!(first.iter().all(|name| (60..140).contains(&often(name))));
    }

    #[test]
    fn the_order_is_the_seeds() {
        let pods = pods(20);
        assert_eq!(names(&pods, 7, 100), names(&pods, 7, 100));
        assert_ne!(names(&pods, 7, 100), names(&pods, 8, 100));
        assert_eq!(Arrivals::new(&[], 7).next().map(|pod| &pod.name), None);
    }
}
