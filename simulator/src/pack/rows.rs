//! The file of a packing.
//!
//! ```text
//! # prorata-sim pack 1
//! place,seed,arrived,allocated,frag_ratio,frag_amount
//! fgd,42,0,0.0000,13.9213,13.9213
//! ```
//!
//! The first line names the format and its version; readers skip it as a comment. All numbers are
//! percent: `arrived`, what was asked for of all GPUs; `allocated` and `frag_amount`, of all GPUs;
//! `frag_ratio`, of those that are free. After the seeds of a way to place come its rows `mean`
//! and `sd`, the standard deviation of a sample.

use super::curve::{Curve, Point, spread};

const VERSION: &str = "# prorata-sim pack 1\n";

const HEADER: [&str; 6] = [
    "place",
    "seed",
    "arrived",
    "allocated",
    "frag_ratio",
    "frag_amount",
];

/// The file's bytes: of each way to place, its curves by seed.
///
/// # Errors
/// Never in practice: it writes to memory.
pub fn csv(places: &[(&str, Vec<(u64, Curve)>)]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(VERSION.as_bytes().to_vec());
    writer.write_record(HEADER)?;
    for (place, curves) in places {
        let mut write = |seed: &str, points: &[Point]| {
            let mut rows = points.iter().enumerate();
            rows.try_for_each(|(percent, point)| {
                writer.write_record(row(place, seed, percent, point))
            })
        };
        for (seed, curve) in curves {
            write(&seed.to_string(), &curve.points)?;
        }
        let curves: Vec<&Curve> = curves.iter().map(|(_, curve)| curve).collect();
        write("mean", &Point::over(&curves, |values| spread(values).mean))?;
        write("sd", &Point::over(&curves, |values| spread(values).sd))?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

fn row(place: &str, seed: &str, percent: usize, point: &Point) -> [String; 6] {
    [
        place.to_owned(),
        seed.to_owned(),
        percent.to_string(),
        format!("{:.4}", point.allocated),
        format!("{:.4}", point.frag_ratio),
        format!("{:.4}", point.frag_amount),
    ]
}
