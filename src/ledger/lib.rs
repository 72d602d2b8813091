//! Who held which GPUs, from when to when, and what that cost: in integers, without a cluster.
//!
//! | to do this | read |
//! |---|---|
//! | know what the book holds, and what is written into it | [`record`], [`entry`] |
//! | read a price file, work out the price of one's own machines | [`price_file`], [`price`], [`owned`] |
//! | divide a fleet's cost, share out what is nobody's | [`bill`], [`fleet`], [`chargeback`] |
//! | add lines up, make accounts, give advice | [`totals`], [`account`], [`advice`] |
//! | write reports, export FOCUS, answer as OpenCost does | [`report`], [`focus`], [`allocation`] |
//! | see how much was held at a time, and since when there was room for it | [`levels`], [`room`] |
//! | see whether a budget holds, and what to tell | [`budget`] |
//! | say what is wrong with a file | [`problem`] |
//!
//! The book is append-only; feature `store` has it in a database. Whatever holds of the input, the lines of a [`bill::Bill`] are the fleet's
//! cost, to the millionth of a unit.

pub mod account;
pub mod advice;
pub mod allocation;
pub mod bill;
pub mod budget;
pub mod chargeback;
pub mod entry;
pub mod fleet;
pub mod focus;
pub mod levels;
pub mod money;
pub mod owned;
pub mod period;
pub mod price;
pub mod price_file;
pub mod problem;
pub mod record;
pub mod report;
pub mod room;
pub mod share;
mod shared;
#[cfg(feature = "store")]
pub mod store;
pub mod totals;

#[cfg(test)]
mod examples;
