//! Where cargo puts the library.

use std::env;
use std::path::PathBuf;

/// The library, as cargo has built it for the test that asks: a dependency's dynamic library lies
/// beside the test's own executable. `$PRORATA_FAKE_NVML_LIBRARY` names another.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn library() -> PathBuf {
    const NAME: &str = "libprorata_fake_nvml.so";
    if let Some(path) = env::var_os("PRORATA_FAKE_NVML_LIBRARY") {
        return path.into();
    }
    let own = env::current_exe().unwrap_or_default();
    let places = own.ancestors().skip(1).take(3);
    let candidates: Vec<PathBuf> = places
        .flat_map(|place| [place.join(NAME), place.join("deps").join(NAME)])
        .collect();
    let found = candidates.iter().find(|path| path.is_file());
    found.cloned().unwrap_or_else(|| {
        panic!(
            "no {NAME} in {candidates:?}: `cargo build -p prorata-fake-nvml` makes one, \
             and $PRORATA_FAKE_NVML_LIBRARY may name it"
        )
    })
}
