//! Who held which GPUs, from when to when, and what that cost: in integers, without a cluster.
//!
//! The book ([`record`]) is append-only. Whatever holds of the input, the lines of a [`Bill`] and its
//! idle time are the fleet's cost, to the millionth of a unit.

mod bill;
mod price;
pub mod record;

pub use bill::{Bill, Error, Span, bill};
pub use price::{Price, PriceError, Prices, Unpriced};
