//! Amounts in the form in which the API server gives them back, so that what it stores can be
//! compared with what was meant.

use prorata_core::Resource;

/// Thousands and their suffixes, from a thousandth on.
const DECIMAL: [&str; 7] = ["m", "", "k", "M", "G", "T", "P"];
const BINARY: [&str; 6] = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];

/// An amount of a resource, in the core's unit of it.
pub(super) fn text(resource: Resource, amount: u64) -> String {
    match resource {
        Resource::Memory | Resource::GpuMemory => bytes(amount),
        Resource::Cpu | Resource::Gpu => thousandths(amount),
    }
}

/// A number of things.
pub(super) fn count(number: u32) -> String {
    thousandths(u64::from(number) * 1000)
}

/// Bytes.
pub(super) fn bytes(amount: u64) -> String {
    let (number, power) = reduce(amount, 1024);
    match power {
        0 => decimal(amount, 1),
        _ => format!("{number}{}", BINARY[power]),
    }
}

fn thousandths(amount: u64) -> String {
    decimal(amount, 0)
}

fn decimal(amount: u64, least: usize) -> String {
    match reduce(amount, 1000) {
        _ if amount == 0 => "0".to_owned(),
        (number, power) => format!("{number}{}", DECIMAL[power + least]),
    }
}

/// The number without its factors of `base`, at most five of them, and how many there were.
fn reduce(mut number: u64, base: u64) -> (u64, usize) {
    let mut power = 0;
    while number != 0 && number.is_multiple_of(base) && power < 5 {
        number /= base;
        power += 1;
    }
    (number, power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_server_gives_them_back() {
        assert_eq!(text(Resource::Cpu, 500), "500m");
        assert_eq!(text(Resource::Cpu, 1500), "1500m");
        assert_eq!(text(Resource::Gpu, 48_000), "48");
        assert_eq!(text(Resource::Cpu, 1_000_000), "1k");
        assert_eq!(text(Resource::Memory, 64 << 30), "64Gi");
        assert_eq!(text(Resource::Memory, 1 << 40), "1Ti");
        assert_eq!(text(Resource::Memory, 1000), "1k");
        assert_eq!(text(Resource::Memory, 1536), "1536");
        assert_eq!(count(1500), "1500");
        assert_eq!(count(0), "0");
    }
}
