#![doc = include_str!("ARCHITECTURE.md")]

pub mod admission;
pub mod api;
pub mod args;
pub mod cli;
pub mod config;
pub mod controller;
pub mod desired;
pub mod driver;
mod duration;
pub mod effects;
pub mod explained;
pub mod extender;
pub mod forecast;
pub mod health;
pub mod install;
pub mod manifest;
pub mod metrics;
pub mod observed;
pub mod plan;
pub mod status;
pub mod telemetry;
pub mod tenants;
pub mod translate;
mod tree;
pub mod validate;
pub mod view;
pub mod watch;
