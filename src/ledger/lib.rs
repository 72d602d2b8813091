//! Who held which GPUs, from when to when, and what that cost: in integers, without a cluster.
//!
//! The book ([`record`], and what is written into it: [`entry`]) is append-only; feature `store` has it in
//! a database. Whatever holds of the input, the lines of a [`Bill`] and its
//! idle time are the fleet's cost, to the millionth of a unit.

mod bill;
pub mod entry;
mod price;
pub mod record;
#[cfg(feature = "store")]
pub mod store;

pub use bill::{Bill, Error, Span, bill};
pub use price::{Price, PriceError, Prices, Unpriced};
