//! Files that appear whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Writes a file beside its place and renames it into it: whoever looks sees the old file or the new one, also
/// after a crash or on a full disk. Of a link, what it points to is replaced.
///
/// # Errors
/// It cannot be written, or is there and no file; an old file of that name is then still whole.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = match path.canonicalize() {
        Ok(existing) if !existing.is_file() => return Err(io::Error::other("it exists and is not a file")),
        Ok(existing) => existing,
        Err(_) => path.to_path_buf(),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".writing-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A temporary file is private by default; a result is as readable as the user's umask allows.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_new_file_is_as_readable_as_one_that_is_created_and_a_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let [new, created, link] = ["new", "created", "link"].map(|name| folder.path().join(name));
        replace_file(&new, b"1").unwrap();
        fs::write(&created, b"1").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&new), mode(&created));

        symlink(&new, &link).unwrap();
        replace_file(&link, b"2").unwrap();
        assert_eq!(fs::read(&new).unwrap(), b"2");
        assert!(link.is_symlink());
        assert!(replace_file(folder.path(), b"3").unwrap_err().to_string().contains("not a file"));
    }
}
