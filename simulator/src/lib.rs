//! A modelled cluster, driven by the very decisions that drive a real one.
//!
//! | to do this | read |
//! |---|---|
//! | play a golden script | [`script`], [`play`] |
//! | let time pass | [`world`] |
//! | read a public trace | [`trace`] |
//! | pack a load that grows, measure what stays unusable | [`pack`] |
//! | read a scenario, draw its work | [`scenario`], [`workload`] |
//! | say what sharing a card costs | [`interference`] |
//! | run it, and measure how fair it was | [`run`], [`timeline`], [`fairness`], [`summary`] |
//! | price it as a cluster is billed | [`pricing`] |
//! | run it many times: compare, size, sweep | [`experiment`] |
//! | play a log of decisions again | [`replay`] |
//! | foretell when jobs start, and what if | [`forecast`] |
//! | write it down, show it | [`jobs`], [`events`], [`report`], [`output`] |
//! | do all that from a command line | [`cli`] |
//! | say what is wrong with an input | [`problem`] |
//! | read amounts as people write them | [`quantity`] |

pub mod calendar;
pub mod cli;
pub mod events;
pub mod experiment;
pub mod fairness;
pub mod forecast;
pub mod interference;
pub mod jobs;
pub mod meaning;
pub mod metrics;
pub mod output;
pub mod pack;
pub mod play;
pub mod pricing;
pub mod quantity;
pub mod replay;
pub mod report;
pub mod run;
pub mod scenario;
pub mod script;
pub mod split;
pub mod summary;
pub mod timeline;
pub mod trace;
pub mod workload;
pub mod world;

pub use prorata_ledger::problem;
