//! Files of this machine, read where they are asked for.

use bytes::Bytes;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures::stream::BoxStream;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;

/// [`LocalFileSystem`], but for the ranges of a scan: the thread that decodes them reads them itself.
///
/// The library hands them to a thread of their own, whose memory is zeroed first and goes to another thread's free list after.
#[derive(Debug, Default)]
pub(crate) struct LocalFiles {
    files: LocalFileSystem,
}

impl std::fmt::Display for LocalFiles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.files.fmt(formatter)
    }
}

#[async_trait::async_trait]
impl ObjectStore for LocalFiles {
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let path = self.files.path_to_filesystem(location)?;
        let failed = |source: io::Error| {
            let path = location.to_string();
            match source.kind() {
                ErrorKind::NotFound => Error::NotFound { path, source: source.into() },
                ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: source.into() },
                _ => Error::Generic { store: "LocalFileSystem", source: source.into() },
            }
        };
        let mut file = File::open(path).map_err(failed)?;
        ranges.iter().map(|range| read(&mut file, range).map_err(failed)).collect()
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.files.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}

/// The bytes of the range, all of them.
fn read(file: &mut File, range: &Range<u64>) -> io::Result<Bytes> {
    let asked = range.end.saturating_sub(range.start);
    // A damaged footer may ask for more than there is memory.
    let length = file.metadata()?.len();
    if range.end > length {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("bytes {} to {} of a file of {length}", range.start, range.end)));
    }
    file.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::with_capacity(asked as usize);
    file.take(asked).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != asked {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ranges_are_the_bytes_of_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("with a space");
        std::fs::write(&path, b"0123456789").expect("a file");
        let files = LocalFiles::default();
        let location = Path::from_absolute_path(&path).expect("a path");
        let found = files.get_ranges(&location, &[2..5, 0..1, 9..10, 4..4]).await.expect("bytes");
        assert_eq!(found, [&b"234"[..], b"0", b"9", b""]);
        let beyond = files.get_ranges(&location, &[0..1, 8..u64::MAX]).await.expect_err("there are not that many");
        assert!(beyond.to_string().contains("of a file of 10"), "{beyond}");
        let missing = files.get_ranges(&Path::from_absolute_path(folder.path().join("none")).expect("a path"), &[0..1, 1..2]).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    }
}
