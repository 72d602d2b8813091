//! Amounts of CPU, memory and GPU: integers that either fit or do not.

use core::fmt;

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Resource {
    /// GPUs, in thousandths.
    Gpu,
    /// CPUs, in thousandths of a core.
    Cpu,
    /// Memory, in bytes.
    Memory,
    /// Memory of GPUs, in bytes. Asked for beside a share of one GPU.
    GpuMemory,
}

impl Resource {
    /// Every kind, in the order in which reasons name them.
    pub const ALL: [Self; 4] = [Self::Gpu, Self::Cpu, Self::Memory, Self::GpuMemory];

    /// Its name in scripts, scenarios and explanations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::GpuMemory => "gpu-memory",
        }
    }

    /// How many of our units a user's unit has: 1000 milli-GPU are one GPU.
    #[must_use]
    pub const fn scale(self) -> u64 {
        match self {
            Self::Gpu | Self::Cpu => 1000,
            Self::Memory | Self::GpuMemory => 1,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An amount of each resource.
///
/// What enters the core is at most [`Resources::MAX_AMOUNT`] each, so that the sums over
/// 65,536 nodes or tasks stay below 2⁶⁴. The sums are checked all the same.
///
/// The order is that of a key and says nothing about size: see [`Resources::fits_in`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Resources([u64; Resource::ALL.len()]);

impl Resources {
    /// Nothing at all.
    pub const ZERO: Self = Self([0; Resource::ALL.len()]);

    /// The greatest amount that a node may offer or a task request: 2⁴⁸ − 1, or 256 TiB of memory.
    pub const MAX_AMOUNT: u64 = (1 << 48) - 1;

    /// Whole GPUs and nothing else.
    #[must_use]
    pub const fn gpus(count: u64) -> Self {
        Self::ZERO.with(Resource::Gpu, count * Resource::Gpu.scale())
    }

    /// The same, with this amount of one resource.
    #[must_use]
    pub const fn with(mut self, resource: Resource, amount: u64) -> Self {
        self.0[resource as usize] = amount;
        self
    }

    /// The amount of one resource.
    #[must_use]
    pub const fn get(&self, resource: Resource) -> u64 {
        self.0[resource as usize]
    }

    /// Each resource with its amount, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (Resource, u64)> + '_ {
        Resource::ALL.into_iter().map(|r| (r, self.get(r)))
    }

    /// Whether nothing is asked or offered.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Whether this fits into `room`, in every resource.
    #[must_use]
    pub fn fits_in(&self, room: &Self) -> bool {
        self.iter().all(|(r, amount)| amount <= room.get(r))
    }

    /// How many times this fits into `room`; `u32::MAX` when nothing is asked.
    #[must_use]
    pub fn times_in(&self, room: &Self) -> u32 {
        self.iter()
            .filter(|(_, amount)| *amount > 0)
            .map(|(r, amount)| u32::try_from(room.get(r) / amount).unwrap_or(u32::MAX))
            .min()
            .unwrap_or(u32::MAX)
    }

    /// The sum, or `None` when it passes 2⁶⁴.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        self.zip(other, u64::checked_add)
    }

    /// The difference, or `None` when `other` is greater in any resource.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.zip(other, u64::checked_sub)
    }

    /// `count` times this, or `None` when it passes 2⁶⁴.
    #[must_use]
    pub fn checked_mul(&self, count: u32) -> Option<Self> {
        self.zip(self, |a, _| a.checked_mul(u64::from(count)))
    }

    /// What is left of this beyond `other`; zero where there is nothing left.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        let mut rest = *self;
        for (amount, taken) in rest.0.iter_mut().zip(other.0) {
            *amount = amount.saturating_sub(taken);
        }
        rest
    }

    /// The same with every amount at most [`Resources::MAX_AMOUNT`].
    #[must_use]
    pub fn bounded(&self) -> Self {
        Self(self.0.map(|amount| amount.min(Self::MAX_AMOUNT)))
    }

    fn zip(&self, other: &Self, op: impl Fn(u64, u64) -> Option<u64>) -> Option<Self> {
        let mut result = Self::ZERO;
        for r in Resource::ALL {
            result.0[r as usize] = op(self.get(r), other.get(r))?;
        }
        Some(result)
    }
}

/// Prints thousandths without trailing zeros: `2`, `0.5`.
#[derive(Clone, Copy, Debug)]
pub struct Amount(pub Resource, pub u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = self.0.scale();
        let (whole, rest) = (self.1 / scale, self.1 % scale);
        match rest {
            0 => write!(f, "{whole}"),
            rest if rest % 100 == 0 => write!(f, "{whole}.{}", rest / 100),
            rest if rest % 10 == 0 => write!(f, "{whole}.{:02}", rest / 10),
            rest => write!(f, "{whole}.{rest:03}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn counts_how_often_the_scarcest_resource_allows() {
        let room = Resources::gpus(8).with(Resource::Cpu, 5000);
        let task = Resources::gpus(1).with(Resource::Cpu, 2000);
        assert_eq!(task.times_in(&room), 2);
        assert_eq!(Resources::ZERO.times_in(&room), u32::MAX);
    }

    #[test]
    fn sums_never_wrap() {
        let most = Resources::ZERO.with(Resource::Memory, u64::MAX);
        assert_eq!(most.checked_add(&most), None);
        assert_eq!(most.checked_mul(2), None);
        assert_eq!(Resources::ZERO.checked_sub(&most), None);
    }

    #[test]
    fn prints_fractions_of_a_gpu() {
        let printed = [2000, 500, 250, 125].map(|m| Amount(Resource::Gpu, m).to_string());
        assert_eq!(printed, ["2", "0.5", "0.25", "0.125"]);
    }
}
