//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Files that are written, but not yet under their names. Dropped before [`Drafts::publish`],
/// they are gone, and what stood under their names before is untouched.
#[derive(Debug, Default)]
pub struct Drafts(Vec<Draft>);

#[derive(Debug)]
struct Draft {
    temporary: PathBuf,
    target: PathBuf,
}

impl Drafts {
    /// Writes a file beside `target`, and makes its folder if there is none.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, target: &Path, content: &[u8]) -> io::Result<()> {
        if target.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let folder = target.parent().filter(|folder| *folder != Path::new(""));
        folder.map_or(Ok(()), fs::create_dir_all)?;
        let hidden = format!(".{}.{}.part", name.to_string_lossy(), std::process::id());
        let temporary = target.with_file_name(hidden);
        // Known before it is made, so that it goes even when writing fails in the middle.
        self.0.push(Draft {
            temporary: temporary.clone(),
            target: target.to_owned(),
        });
        let mut file = File::create(temporary)?;
        file.write_all(content)?;
        if let Ok(before) = fs::metadata(target) {
            file.set_permissions(before.permissions())?;
        }
        file.sync_all()
    }

    /// Gives all files their names, over what stood there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn publish(mut self) -> io::Result<()> {
        // A later draft may have needed a folder of this name; nothing has been replaced yet.
        if self.0.iter().any(|draft| draft.target.is_dir()) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        for draft in &self.0 {
            fs::rename(&draft.temporary, &draft.target)?;
        }
        self.0.clear();
        Ok(())
    }
}

impl Drop for Drafts {
    fn drop(&mut self) {
        for draft in &self.0 {
            let _ = fs::remove_file(&draft.temporary);
        }
    }
}
