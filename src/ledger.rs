//! What a fleet cost, and who held it: the arithmetic alone, in integers. Pure.
//!
//! Whatever holds of the input, the lines of a [`Bill`] and its idle time are the fleet's cost, to the
//! millionth of a unit.

mod bill;
mod price;

pub use bill::{Bill, Error, Span, bill};
pub use price::{Price, PriceError, Prices, Unpriced};
