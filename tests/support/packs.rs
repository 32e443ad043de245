//! The op cases, which are packed: one archive per op and version of Paddle.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::OP_FOLDERS;

/// The folder to which all archives are unpacked, as `VERSION/ops/OP/`. Its name has a hash of the archives,
/// so that it is made anew when they change.
pub fn unpacked(fixtures: &Path) -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let archives = archives(fixtures);
    let mut hasher = DefaultHasher::new();
    for archive in &archives {
        archive.hash(&mut hasher);
        fs::read(archive).unwrap().hash(&mut hasher);
    }
    let folder = scratch.join(format!("fixtures-{:016x}", hasher.finish()));
    if folder.exists() {
        return folder;
    }
    for earlier in fs::read_dir(scratch).unwrap() {
        let earlier = earlier.unwrap();
        if earlier
            .file_name()
            .to_string_lossy()
            .starts_with("fixtures-")
        {
            fs::remove_dir_all(earlier.path()).unwrap();
        }
    }
    // The folder has a temporary name first, so that a broken one is never taken for a whole one.
    let partial = tempfile::tempdir_in(scratch).unwrap();
    for archive in archives {
        let op = archive.strip_prefix(fixtures).unwrap().with_extension("");
        let mut archive = ZipArchive::new(File::open(&archive).unwrap()).unwrap();
        archive.extract(partial.path().join(op)).unwrap();
    }
    fs::rename(partial.keep(), &folder).unwrap();
    folder
}

fn archives(fixtures: &Path) -> Vec<PathBuf> {
    let folders = OP_FOLDERS.map(|folder| fixtures.join(folder));
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut archives: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "zip"));
    archives.sort();
    archives
}
