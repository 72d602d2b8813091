//! Where the public traces lie: in the folder that `PRORATA_DATA` names. The project brings none.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Where this part of the data lies; where it does not, says so.
pub(crate) fn data(path: &str) -> Option<PathBuf> {
    let folder = env::var_os("PRORATA_DATA").map_or_else(beside_the_checkout, PathBuf::from);
    let path = folder.join(path);
    if path.exists() {
        return Some(path);
    }
    let path = path.display();
    let skipped = format!(
        "\nSKIPPED, NOT CHECKED: there is no {path}: set PRORATA_DATA to the folder of traces\n\n"
    );
    // The macro's output would be held back by the test runner. One piece, as tests run together.
    let _ = io::stderr().write_all(skipped.as_bytes());
    None
}

/// The folder `shared/data` beside the checkout, of which this package is all or a part.
fn beside_the_checkout() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let above = package.ancestors().skip(1).take(2);
    let mut folders = above.map(|folder| folder.join("shared/data"));
    let found = folders.find(|folder| folder.exists());
    found.unwrap_or_else(|| package.join("../shared/data"))
}
