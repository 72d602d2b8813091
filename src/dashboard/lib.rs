//! The pages that people look at, made of plain values: no cluster, no clock, no I/O.
